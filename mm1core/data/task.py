"""What is asked of a model: items, demonstrations and how an answer is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mm1core.data.document import Part


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One question. The same items are asked of every arm, at every number of shots."""

    id: str
    """Unique within the task and stable across runs, such as ``test/colour/17``."""
    prompt: tuple[Part, ...]
    """What the model sees last, without the answer."""
    references: tuple[str, ...]
    """Right answers (for captions: reference captions)."""
    values: frozenset[str] = field(default_factory=frozenset)
    """Answers that are right whatever the dialect; empty where there is no such notion."""


class Task(Protocol):
    """One task over one split. Every method is a pure function of its arguments and the task's data."""

    name: str
    stop: str
    """The token at which decoding stops; it is not part of the answer."""
    max_new_tokens: int
    primary: str
    """The metric that stands for the task in averages over tasks."""
    shots: bool
    """Whether the task is asked with demonstrations; ``text_core`` is not."""

    def items(self, count: int) -> Sequence[Item]:
        """The first ``count`` items; a smaller count gives a prefix of a larger one. Fewer if the split has fewer."""
        ...

    @property
    def pool(self) -> int:
        """How many candidates demonstrations are chosen from; they are numbered from 0."""
        ...

    def demonstration(self, item: Item, candidate: int) -> tuple[Part, ...] | None:
        """The candidate as a solved example before ``item`` (in its dialect); ``None`` if it must not be used
        (it shows the query's own image, or does not fit the task)."""
        ...

    def score(self, items: Sequence[Item], predictions: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Per metric, one number per item, shape (items,): ``exact``, ``value``, ``cider_d``, ``object_f1``."""
        ...
