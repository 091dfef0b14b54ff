"""How a job stands, from what SLURM says of it and what its batch script left. Pure.

SLURM has the last word on whether a job is over; on how it ended the script has, where it got to its end in the run
that SLURM speaks of. Not where the node failed, or where the job was preempted and could not save its state: what its
processes made of that is no fault of theirs. A job that was queued again waits or runs, whatever an earlier run of it
left. One that SLURM calls running while its script has said its end in that very run is over as well: the script only
sees to what comes next. Should SLURM queue it again now, it finds that it was given up.
"""

from dataclasses import replace
from signal import SIGTERM

from slurm.batch import Word
from slurm.launcher import EXIT_INTERRUPTED, EXIT_OK, JobState, JobStatus
from slurm.queue import QUEUED, Seen

_SHELL_SIGNALS = range(129, 193)
"""What a shell makes of a command that a signal ended."""
_NODE_FAULTS = ("NODE_FAIL", "BOOT_FAIL")
_TAKEN_AWAY = (*_NODE_FAULTS, "PREEMPTED")
_NO_LOG = 53
"""The signal that SLURM 22.05 names where it could not open a job's log. 20.11 says exit code 1; 24.11 makes the folder
of the log on the node, where the script then finds no job, and calls that completed."""
_FROM_OUTSIDE = {
    "TIMEOUT": "it reached its time limit and had not saved its state by then",
    "DEADLINE": "it reached its deadline",
    "OUT_OF_MEMORY": "it needed more memory than it had asked for",
}


def status_of(seen: Seen, word: Word | None, *, patient: bool) -> JobStatus | None:
    """``None`` where the job is over but its script's last word may still be on its way here; ``patient`` says that
    it is worth waiting for."""
    if seen.stuck:  # not the fault of the node that it began on last, and SLURM itself avoids the one it is
        return JobStatus(state=JobState.LOST, problem=_said(seen))
    status = _status_of(seen, word, patient=patient)
    return status if status is None or word is None else replace(status, node=word.node, seconds=word.seconds)


def _status_of(seen: Seen, word: Word | None, *, patient: bool) -> JobStatus | None:
    if seen.state in QUEUED:
        return JobStatus(state=JobState.QUEUED)
    current = word is not None and word.restart == seen.restarts
    if seen.state == "RUNNING" and current and word is not None and word.exit_code is not None:
        return replace(_ended(word.exit_code, ""), out_of_memory=_short_of_memory(seen, word))
    if not seen.ended:
        return JobStatus(state=JobState.RUNNING)
    silent = word is None
    if seen.restarts is not None and not current:
        word = None
    if seen.state in _TAKEN_AWAY and (word is None or word.exit_code not in (EXIT_OK, EXIT_INTERRUPTED)):
        return JobStatus(state=JobState.LOST, node_failed=seen.state in _NODE_FAULTS, problem=_said(seen))
    outside = _FROM_OUTSIDE.get(seen.state, "")
    if word is not None and word.exit_code is not None:
        status = _ended(word.exit_code, f"{outside} ({seen.state})" if outside and word.exit_code else "")
        return replace(status, out_of_memory=_short_of_memory(seen, word))
    if outside:
        memory = seen.state == "OUT_OF_MEMORY"
        return JobStatus(state=JobState.KILLED, out_of_memory=memory, problem=f"{outside} ({seen.state})")
    if seen.state == "CANCELLED":
        if word is None:
            return JobStatus(state=JobState.CANCELLED, problem="it was cancelled")
        return JobStatus(state=JobState.KILLED, signal=seen.signal or SIGTERM)
    if seen.state in ("COMPLETED", "FAILED"):
        return None if patient else _wordless(seen, began=word is not None, silent=silent)
    return JobStatus(state=JobState.LOST, problem=_said(seen))


def _short_of_memory(seen: Seen, word: Word) -> bool:
    """Not where the job ended well, or had saved its state, all the same."""
    short = word.out_of_memory or seen.state == "OUT_OF_MEMORY"
    return short and word.exit_code not in (EXIT_OK, EXIT_INTERRUPTED)


def _wordless(seen: Seen, *, began: bool, silent: bool) -> JobStatus:
    """A script that SLURM saw end, and that could not say so itself. ``silent``: in none of its runs it said a word,
    though that is the first thing it does."""
    ran = seen.signal is None and seen.reason != "JobLaunchFailure"
    if silent and (ran or seen.signal == _NO_LOG):
        problem = f"the store is not seen where the job ran: on {seen.node or 'its node'}, as it seems"
        return JobStatus(
            state=JobState.FAILED,
            problem=f"{problem} ({_said(seen)}); `ablate doctor` checks in more detail",
            node=seen.node or None,
        )
    if seen.state == "FAILED" and seen.signal:
        return JobStatus(state=JobState.KILLED, signal=seen.signal)
    if seen.state == "FAILED" and seen.exit_code and began:
        return _ended(seen.exit_code, _said(seen))
    return JobStatus(state=JobState.LOST, problem=f"{_said(seen)}, and its script reported nothing")


def _ended(code: int, problem: str) -> JobStatus:
    if code in _SHELL_SIGNALS:
        return JobStatus(state=JobState.KILLED, signal=code - 128, problem=problem)
    state = JobState.FAILED if code else JobState.SUCCEEDED
    return JobStatus(state=state, exit_code=code, problem=problem)


def _said(seen: Seen) -> str:
    return f"SLURM says {seen.state}" + (f" ({seen.reason})" if seen.reason else "")
