"""How a stage reads its data: through the tokenizer, the sources and the tasks, wherever they come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from mm1core.data.document import Source
from mm1core.data.task import Task
from mm1core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Opened data. Sources and tasks read on demand and may be used in forked worker processes."""

    tokenizer: Tokenizer
    sources: dict[str, Source]
    """By name in the data mix. Encoder pre-training takes its pictures and captions from these as well."""
    task: Callable[[str, str], Task]
    """``task(name, split)``: a task over ``validation`` or ``test``. Raises ``DataError`` for a name not offered."""


def open_data(inputs: Mapping[str, Path]) -> Data:
    """The data of a stage, from the work folders of its inputs by role.

    ``world`` supplies all of it; otherwise ``tokenizer`` and one ``corpus:<source>`` for each source are needed.
    """
    if "world" in inputs:
        from mm1core.world.documents import open_sources
        from mm1core.world.tasks import open_task

        world = inputs["world"]
        return Data(
            tokenizer=read_tokenizer(world / "tokenizer.json"),
            sources=open_sources(world),
            task=lambda name, split: open_task(world, name, split),
        )

    from mm1core.data.captioning import FileCaptioning
    from mm1core.data.files import FileSource

    sources = {role.removeprefix("corpus:"): path for role, path in inputs.items() if role.startswith("corpus:")}
    if not sources or "tokenizer" not in inputs:
        raise DataError(f"the inputs {sorted(inputs)} hold no data; give world, or tokenizer and corpus:<source>")

    def task(name: str, split: str) -> Task:
        if name != "captioning":
            raise DataError(f"evaluation.tasks: {name!r} needs the world; sources read from files allow captioning")
        return FileCaptioning.over(sources, split)

    return Data(
        tokenizer=read_tokenizer(inputs["tokenizer"] / "tokenizer.json"),
        sources={name: FileSource(name, path) for name, path in sorted(sources.items())},
        task=task,
    )


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer at ``path``; ``DataError`` if its special tokens are not those of ``document.py``."""
    from mm1core.data.text import SPECIAL_TOKENS

    tokenizer = Tokenizer.from_file(str(path))
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    if ids != list(range(len(SPECIAL_TOKENS))):
        raise DataError(f"{path}: the special tokens {', '.join(SPECIAL_TOKENS)} have ids {ids}, not 0 to 3")
    return tokenizer
