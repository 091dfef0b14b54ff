"""The log of an attempt at a job: where it is, and what it tells if the attempt itself said nothing."""

from pathlib import Path
from typing import Any

from ablations.backlog import Work
from ablations.errors import StoreError
from ablations.failures import FailureClass, without_exception
from ablations.outcome import Outcome
from ablations.store import Store
from ablations.trials import TrialFolders
from slurm.launcher import JobStatus


def attempt_log(work: Work, sweep: Path, folders: TrialFolders) -> Path:
    """The log of the newest attempt: in its trial's folder, or in the sweep's ``jobs`` if it belongs to no trial."""
    if work.job.trial is None:
        return sweep / "jobs" / f"{work.name}.attempt-{work.attempt}.log"
    return folders.folder(work.job.trial) / f"attempt-{work.attempt}.log"


def earlier_attempts(log: Path) -> int:
    """Number of the last attempt in former runs, by the logs beside ``log`` of attempt 0: a log is never
    overwritten."""
    pattern = log.name.replace("attempt-0", "attempt-*")
    return max((int(path.stem.rpartition("attempt-")[2]) for path in log.parent.glob(pattern)), default=0)


def unsaid_failure(log: Path, status: JobStatus, outcome: Outcome, *, attempt: int) -> dict[str, Any]:
    """The failure of an attempt that could not write its own."""
    if outcome == Outcome.FAILED:
        what = status.problem or f"ended with exit code {status.exit_code} and without a record"
        return without_exception("code_error", what, log=log, attempt=attempt)
    what = f"ended by signal {status.signal}" if status.signal else status.problem or str(outcome)
    if status.signal == 9:
        what += " (killed by somebody, or by the kernel for want of memory)"
    kind: FailureClass = "out_of_memory" if outcome == Outcome.OUT_OF_MEMORY else "killed"
    return without_exception(kind, what, log=log, attempt=attempt)


def unwritable_store(log: Path, store: Store, *, attempt: int) -> StoreError:
    """Why an attempt could not write the store."""
    try:
        store.prepare()
    except StoreError as error:  # it says best what is wrong, if anything still is
        return error
    tail = without_exception("killed", "", log=log, attempt=attempt)["traceback_tail"]
    reason = tail.splitlines()[-1] if tail else "no reason given"
    return StoreError(
        f"{store.root}: a job could not write the store ({reason}); free some space or make it writable, "
        "then run the same command again: finished work is kept"
    )
