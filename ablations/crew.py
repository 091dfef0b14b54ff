"""A job of several processes: the first one leads it as if it were alone, and the others join in when it says so.

Trainings of the model are done together; everything else (the data, the encoder's pre-training, scoring) is done by the
first process while the others wait. The first process owns leases, records and the spool; it tells the others which
stages begin, and how each ended.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ablations.failures import from_exception, lost_peer
from ablations.store import StageFolder
from mm1core.errors import Interrupted
from slurm.launcher import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from mm1core.ranks import Ranks

EXIT_LOST = 69
"""Another process of the job is gone, and none left a reason (EX_UNAVAILABLE of sysexits.h)."""
TOGETHER = ("pretrain",)
"""Kinds of stages that all processes take part in."""
_BEGIN = "begin"
_LAST_WORDS = 5.0
"""Seconds that a failed process has to write why, before the processes that lost it report that."""


class Crew:
    """The other processes, as the first one sees them; alone, it has none."""

    def __init__(self, ranks: "Ranks | None" = None) -> None:
        self._ranks = ranks
        self._inside = False

    def begin(self, kind: str) -> None:
        """Announce that a stage's function is called next."""
        if self._ranks is not None and kind in TOGETHER:
            self._ranks.tell(_BEGIN)
            self._inside = True

    def left(self) -> None:
        """Note that the function returned, or stopped on request, as it did in every process."""
        self._inside = False

    def hear(self, code: int) -> int:
        """Tell the others how a stage ended. Those still inside a stage that failed are ended with this process.
        Returns the job's code: the job cannot go on if one of the others is gone."""
        if self._ranks is None or self._inside:
            return code
        try:
            self._ranks.tell(str(code))
        except RuntimeError as error:
            if not self.lost_one(error):
                raise
            traceback.print_exc()
            return code or EXIT_LOST
        return code

    def lost_one(self, error: BaseException) -> bool:
        """Whether this was raised because one of the others is gone."""
        return self._ranks is not None and lost_peer(error)

    def failed_elsewhere(self, folder: StageFolder, attempt: int) -> bool:
        """Whether another process was the first to fail in this stage, and said why."""
        if not self._inside:
            return False
        time.sleep(_LAST_WORDS)
        failure = folder.failure(print)
        return failure is not None and failure["attempt"] == attempt and "rank" in failure


def follow(
    payload: Mapping[str, Any],
    ranks: "Ranks",
    *,
    folder_of: Callable[[Mapping[str, Any]], StageFolder],
    call: Callable[[Mapping[str, Any]], Any],
) -> int:
    """What every process but the first does. ``call`` runs a stage's function. Returns an exit code."""
    for stage in payload["stages"]:
        while (word := ranks.tell("")) == _BEGIN:
            try:
                call(stage)
            except Interrupted:
                continue
            except BaseException as error:
                traceback.print_exc()
                if not lost_peer(error):  # else the process that is gone may have said why
                    failure = from_exception(error, attempt=payload["attempt"])
                    folder_of(stage).write_failure({**failure, "rank": ranks.index})
                return EXIT_ERROR
        if int(word) != EXIT_OK:
            break
    return EXIT_OK  # the job's exit code is that of its first process
