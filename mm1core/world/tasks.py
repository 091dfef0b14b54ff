"""The world's five tasks: items from held-out scenes, demonstrations from training scenes.

Items take the world's dialects in turn; demonstrations use their item's dialect. ``exact`` requires the word of that
dialect, ``value`` the right thing in any. Nothing in an item reveals the dialect, so that with three of them ``exact``
is at most one in three on average at 0 shots.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from mm1core.cider import cider_d
from mm1core.config import TASK_NAMES, WORLD_CANDIDATES
from mm1core.data.document import Answer, Part, Picture, Text
from mm1core.data.task import Item, Task
from mm1core.errors import DataError
from mm1core.world import describe
from mm1core.world.build import read_images, read_world
from mm1core.world.draws import Draws
from mm1core.world.scene import SHAPES, Scene, Split, scene, size

_REFERENCES = 5
"""Reference captions of an item."""


class SceneTask:
    """What the tasks that show a picture have in common. Subclasses say what is asked and how it is scored."""

    name: str
    primary: str
    max_new_tokens = 2
    stop = describe.STOP
    shots = True

    def __init__(self, folder: Path, split: Split) -> None:
        self._world = read_world(folder)
        self._split = split
        self._images = read_images(folder, split)
        self._demonstrations = read_images(folder, "train")
        self._number = TASK_NAMES.index(self.name)

    def items(self, count: int) -> list[Item]:
        """See ``mm1core.data.task.Task``."""
        found: list[Item] = []
        for index in range(size(self._world, self._split)):
            if len(found) == count:
                break
            item = self._item(index, scene(self._world, self._split, index), dialect=len(found) % self._world.dialects)
            if item is not None:
                found.append(item)
        return found

    @property
    def pool(self) -> int:
        return min(WORLD_CANDIDATES, self._world.train_scenes)

    def demonstration(self, item: Item, candidate: int) -> tuple[Part, ...] | None:
        """See ``mm1core.data.task.Task``; training scenes are never an item's own."""
        shown = scene(self._world, "train", candidate)
        index, dialect = (int(number) for number in item.id.split("/")[2:])
        draws = Draws(self._world.seed, 105, self._number, index, candidate)
        solved = self._solved(shown, dialect, draws)
        return None if solved is None else (Picture(pixels=self._demonstrations[candidate]), *solved)

    def score(self, items: Sequence[Item], predictions: Sequence[str]) -> Mapping[str, np.ndarray]:
        exact = [prediction in item.references for item, prediction in zip(items, predictions, strict=True)]
        value = [prediction in item.values for item, prediction in zip(items, predictions, strict=True)]
        return {"exact": np.array(exact, np.float64), "value": np.array(value, np.float64)}

    def _id(self, index: int, dialect: int) -> str:
        return f"{self._split}/{self.name}/{index}/{dialect}"

    def _question(self, index: int, dialect: int, question: str, words: Sequence[str], answer: str) -> Item:
        """An item whose answer is one word; ``words`` are the right ones of every dialect."""
        return Item(
            id=self._id(index, dialect),
            prompt=(Picture(pixels=self._images[index]), Text(text=question)),
            references=(answer,),
            values=frozenset(words),
        )

    def _item(self, index: int, shown: Scene, *, dialect: int) -> Item | None:
        raise NotImplementedError

    def _solved(self, shown: Scene, dialect: int, draws: Draws) -> tuple[Part, ...] | None:
        raise NotImplementedError


class ColourTask(SceneTask):
    """The colour of a shape that occurs once."""

    name, primary = "colour", "exact"

    def _item(self, index: int, shown: Scene, *, dialect: int) -> Item | None:
        if not shown.unique:
            return None
        thing = Draws(self._world.seed, 106, index).choice(shown.unique)
        words = [dialect_words[thing.colour] for dialect_words in describe.COLOURS]
        return self._question(index, dialect, describe.colour_question(thing), words, words[dialect])

    def _solved(self, shown: Scene, dialect: int, draws: Draws) -> tuple[Part, ...] | None:
        return describe.colour_statement(draws.choice(shown.unique), dialect) if shown.unique else None


class DigitTask(SceneTask):
    """The digit on the plate. Models learn to copy its dialect late in training, so the value stands for the task."""

    name, primary = "digit", "value"

    def _item(self, index: int, shown: Scene, *, dialect: int) -> Item:
        words = [dialect_words[shown.digit] for dialect_words in describe.DIGITS]
        return self._question(index, dialect, describe.DIGIT_QUESTION, words, words[dialect])

    def _solved(self, shown: Scene, dialect: int, draws: Draws) -> tuple[Part, ...]:
        return describe.digit_statement(shown, dialect)


class CountTask(SceneTask):
    """How many things there are; counts have no dialect, so ``exact`` and ``value`` agree."""

    name, primary = "count", "exact"

    def _item(self, index: int, shown: Scene, *, dialect: int) -> Item:
        word = describe.COUNTS[len(shown.things) - 1]
        return self._question(index, dialect, describe.COUNT_QUESTION, [word], word)

    def _solved(self, shown: Scene, dialect: int, draws: Draws) -> tuple[Part, ...]:
        return describe.count_statement(shown)


class CaptioningTask(SceneTask):
    """The list of things. ``object_f1`` compares (colour, shape) pairs and ignores the dialect, unlike ``cider_d``."""

    name, primary = "captioning", "object_f1"
    max_new_tokens = 14  # four things: a shape, a colour and a comma each, then the stop

    def _item(self, index: int, shown: Scene, *, dialect: int) -> Item:
        draws = Draws(self._world.seed, 107, index)
        return Item(
            id=self._id(index, dialect),
            prompt=(Picture(pixels=self._images[index]), Text(text=describe.LIST_START)),
            references=tuple(_listed(shown, dialect, draws) for _ in range(_REFERENCES)),
        )

    def _solved(self, shown: Scene, dialect: int, draws: Draws) -> tuple[Part, ...]:
        return describe.object_list(shown, dialect, draws)

    def score(self, items: Sequence[Item], predictions: Sequence[str]) -> Mapping[str, np.ndarray]:
        pairs = zip(items, predictions, strict=True)
        return {
            "cider_d": cider_d(list(predictions), [item.references for item in items]),
            "object_f1": np.array([_object_f1(item.references[0], prediction) for item, prediction in pairs]),
        }


class TextCoreTask:
    """Facts that only text states, asked in a paraphrase that training never uses for them. No pictures, no shots."""

    name, primary = "text_core", "exact"
    max_new_tokens = 2
    stop = describe.STOP
    shots = False
    pool = 0

    def __init__(self, folder: Path, split: Split) -> None:
        self._world = read_world(folder)
        self._split = split

    def items(self, count: int) -> list[Item]:
        facts = [(name, relation) for name in range(self._world.fact_names) for relation in range(2)]
        return [self._item(name, relation) for name, relation in facts[:count]]

    def demonstration(self, item: Item, candidate: int) -> tuple[Part, ...] | None:
        return None

    def score(self, items: Sequence[Item], predictions: Sequence[str]) -> Mapping[str, np.ndarray]:
        exact = [prediction in item.references for item, prediction in zip(items, predictions, strict=True)]
        return {"exact": np.array(exact, np.float64)}

    def _item(self, name: int, relation: int) -> Item:
        form = describe.VALIDATION_FORM if self._split == "validation" else describe.TEST_FORM
        return Item(
            id=f"{self._split}/{self.name}/{name}/{relation}",
            prompt=(Text(text=describe.fact_forms(self._world, name, relation)[form]),),
            references=(describe.fact_place(self._world, name, relation),),
        )


TASKS: dict[str, Callable[[Path, Split], Task]] = {
    "colour": ColourTask,
    "digit": DigitTask,
    "count": CountTask,
    "captioning": CaptioningTask,
    "text_core": TextCoreTask,
}


def open_task(folder: Path, name: str, split: str) -> Task:
    """The task over a held-out split of the world built in ``folder``."""
    if name not in TASKS:
        raise DataError(f"evaluation.tasks: {name!r} is not a task of the world; it has {', '.join(TASKS)}")
    if split not in ("validation", "test"):
        raise DataError(f"evaluation.split: {split!r} is not held out; use validation or test")
    return TASKS[name](folder, next(known for known in get_args(Split) if known == split))


def _listed(shown: Scene, dialect: int, draws: Draws) -> str:
    """An object list as the model is to write it, without its first word and the stop."""
    parts = describe.object_list(shown, dialect, draws)[1:-1]
    return " ".join(part.text for part in parts if isinstance(part, Text | Answer))


_COLOUR_OF = {word: colour for words in describe.COLOURS for colour, word in enumerate(words)}


def _objects(caption: str) -> Counter[tuple[str, int]]:
    """The (shape, colour) pairs a list names; anything else counts as an object that does not exist."""
    found: Counter[tuple[str, int]] = Counter()
    for phrase in re.split(r" , ", caption):
        words = phrase.split()
        right = len(words) == 2 and words[0] in SHAPES and words[1] in _COLOUR_OF
        found[(words[0], _COLOUR_OF[words[1]]) if right else (phrase, -1)] += 1
    return found


def _object_f1(reference: str, prediction: str) -> float:
    """Twice the objects in both over the objects in either list."""
    wanted, named = _objects(reference), _objects(prediction)
    return 2 * (wanted & named).total() / (wanted.total() + named.total())
