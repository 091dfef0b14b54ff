"""What the model reads before it answers: ``<bos>``, the demonstrations, the question."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from mm1core.data.document import Document, Part
from mm1core.data.task import Item, Task
from mm1core.data.text import encode
from mm1core.evaluation.pictures import PictureTable
from mm1core.evaluation.shots import demonstrations


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One question as the decoder takes it."""

    name: str
    """The item's id, for errors."""
    tokens: np.ndarray
    """(L,) int64, image slots as copies of the ``<image>`` token."""
    pictures: tuple[int, ...]
    """Numbers in the table of pictures, in order of appearance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptBuilder:
    """Turns items into prompts whose pictures are in one table."""

    tokenizer: Tokenizer
    pictures: PictureTable
    num_image_tokens: int
    seed: int
    """Seed of the choice of demonstrations."""

    def build(self, task: Task, item: Item, *, shots: Sequence[int]) -> list[Prompt]:
        """One prompt for each number of shots; what the prompts share is tokenized and encoded once."""
        solved = demonstrations(task, item, shots=max(shots), seed=self.seed)
        *examples, question = (self._segment(item.id, parts) for parts in (*solved, item.prompt))
        prompts = []
        for count in shots:
            shown = [*examples[:count], question]
            prompts.append(
                Prompt(
                    name=item.id,
                    # each segment was tokenized as a document of its own; one <bos> opens the whole
                    tokens=np.concatenate([question[0][:1], *(tokens[1:] for tokens, _ in shown)]),
                    pictures=tuple(number for _, numbers in shown for number in numbers),
                )
            )
        return prompts

    def _segment(self, name: str, parts: tuple[Part, ...]) -> tuple[np.ndarray, list[int]]:
        tokens, _, pictures = encode(
            Document(name=name, parts=parts),
            self.tokenizer,
            num_image_tokens=self.num_image_tokens,
            answer_weight=1.0,  # weights matter only in training
        )
        return np.asarray(tokens, dtype=np.int64), [self.pictures.number(picture.pixels) for picture in pictures]
