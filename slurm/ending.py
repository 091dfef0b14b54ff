"""The status of a job, from what SLURM says about it and what its batch script left. Pure.

SLURM has the last word on whether a job is over; the script has it on how the job ended, if it reached its end in the
run that SLURM speaks of. This does not hold if the node failed, or if the job was preempted and could not save its
state: what its processes made of that is no fault of theirs. A job that was queued again waits or runs, whatever an
earlier run of it left. A job that SLURM calls running, but whose script reported its end in that very run, is over as
well: the script is only starting what comes next. Should SLURM queue the job again now, it finds that it was given up.
"""

from dataclasses import replace
from signal import SIGTERM

from slurm.batch import Word
from slurm.launcher import EXIT_INTERRUPTED, EXIT_OK, JobState, JobStatus
from slurm.queue import QUEUED, Seen

_SHELL_SIGNALS = range(129, 193)
"""Exit codes that a shell gives to a command that a signal ended."""
_NODE_FAULTS = ("NODE_FAIL", "BOOT_FAIL")
_TAKEN_AWAY = (*_NODE_FAULTS, "PREEMPTED")
_NO_LOG = 53
"""The signal that SLURM 22.05 names if it could not open a job's log. 20.11 says exit code 1; 24.11 makes the folder of
the log on the node, where the script then finds no job, and calls that completed."""
_FROM_OUTSIDE = {
    "TIMEOUT": "it reached its time limit and had not saved its state by then",
    "DEADLINE": "it reached its deadline",
    "OUT_OF_MEMORY": "it needed more memory than it had asked for",
}


def status_of(seen: Seen, word: Word | None, *, patient: bool) -> JobStatus | None:
    """The status of a job; ``None`` if it is over but its script's last word may still be on its way here. ``patient``:
    it is worth waiting for."""
    if seen.stuck:  # not the fault of the node that it last began on; SLURM itself avoids the faulty one
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
    """Whether memory was short, unless the job still ended well or had saved its state."""
    short = word.out_of_memory or seen.state == "OUT_OF_MEMORY"
    return short and word.exit_code not in (EXIT_OK, EXIT_INTERRUPTED)


def _wordless(seen: Seen, *, began: bool, silent: bool) -> JobStatus:
    """The status of a job whose script SLURM saw end, but which could not report that itself. ``silent``: it said
    nothing in any of its runs, though that is the first thing it does."""
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
