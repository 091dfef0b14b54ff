"""Which stages of a sweep are recorded, for its one writer: each record is read once, and only a missing one again."""

from collections.abc import Callable
from typing import Any

from ablations.stages import Stage
from ablations.store import StageFolder, Store, Warn


class StageRecords:
    def __init__(self, store: Store, *, warn: Warn, on_recorded: Callable[[str], None]) -> None:
        """``on_recorded`` is told the key of a stage once, when its record is first seen."""
        self._store = store
        self._warn = warn
        self._on_recorded = on_recorded
        self._recorded: set[str] = set()

    def folder(self, stage: Stage) -> StageFolder:
        return self._store.stage(stage.kind, stage.key)

    def has(self, stage: Stage) -> bool:
        return stage.key in self._recorded or self.read(stage) is not None

    def read(self, stage: Stage) -> dict[str, Any] | None:
        record = self.folder(stage).record(self._warn)
        if record is not None and stage.key not in self._recorded:
            self._recorded.add(stage.key)
            self._on_recorded(stage.key)
        return record
