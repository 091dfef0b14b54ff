"""Which solved examples come before a question.

The choice is a pure function of the evaluation seed, the task's name and the item's id: the same for every arm, on any
number of machines, in any batch. It is nested, so that 8 shots are the 4 shots and four more, and it never shows the
query. No random state is read or changed.

At most 2,048 candidates of a pool are used, as many as OpenFlamingo draws from, and the same ones for every task over a
pool of that size: an evaluation then has few distinct pictures to encode, and encodes each once.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

import numpy as np

from mm1core.config import CANDIDATES
from mm1core.data.document import Part, Picture
from mm1core.data.task import Item, Task
from mm1core.errors import DataError


def demonstrations(task: Task, item: Item, *, shots: int, seed: int) -> tuple[tuple[Part, ...], ...]:
    """``shots`` solved examples for the item, in the order they are shown; fewer shots give the first of these.

    Raises ``DataError`` if the task's pool has too few candidates that may be used.
    """
    chosen: list[tuple[Part, ...]] = []
    if shots == 0:
        return ()
    candidates = _candidates(seed, task.pool)
    for place in _order(f"{seed}/{task.name}/{item.id}", len(candidates)):
        parts = task.demonstration(item, candidates[place])
        if parts is None or _shows(parts, item.prompt):
            continue
        chosen.append(parts)
        if len(chosen) == shots:
            return tuple(chosen)
    raise DataError(
        f"{task.name}: {item.id} needs {shots} demonstrations, but only {len(chosen)} of {len(candidates)} candidates "
        "may be used; lower evaluation.shots or give the task more training samples"
    )


@lru_cache(maxsize=16)
def _candidates(seed: int, pool: int) -> tuple[int, ...]:
    return tuple(islice(_order(f"{seed}/pool", pool), CANDIDATES))


def _order(name: str, size: int) -> Iterator[int]:
    """0 to ``size`` - 1 in an order drawn from the hash of ``name``: a lazy Fisher-Yates shuffle."""
    moved: dict[int, int] = {}
    for place in range(size):
        digest = blake2b(f"{name}/{place}".encode(), digest_size=8).digest()
        drawn = place + int.from_bytes(digest, "big") % (size - place)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.pop(place, place)


def _shows(parts: tuple[Part, ...], prompt: tuple[Part, ...]) -> bool:
    """Whether a picture of the prompt is also among ``parts``: data sets hold the same image under several names."""
    pictures = [part.pixels for part in parts if isinstance(part, Picture)]
    return any(
        np.array_equal(part.pixels, pixels) for part in prompt if isinstance(part, Picture) for pixels in pictures
    )
