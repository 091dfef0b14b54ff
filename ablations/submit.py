"""``ablate submit`` and ``ablate advance``: a sweep on a cluster that nobody has to wait for."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ablations.detached import advance, submit_sweep
from ablations.errors import OK, STOPPED, TRIALS_FAILED, BadInput
from ablations.folder import submission_of, sweep_folder
from ablations.frozen import own_code
from ablations.invocation import command
from ablations.labels import counted
from ablations.snapshot import Status


def submit(
    sweep_path: Path,
    *,
    store: Path,
    profile: str,
    workers: int | None,
    json_output: bool,
    study_url: str | None = None,
) -> int:
    """Returns an exit code; raises ``AblationError``."""
    name, status = submit_sweep(
        sweep_path, store=store, profile=profile, workers=workers, say=_say, warn=_warn, study_url=study_url
    )
    if json_output:
        print(json.dumps(_document(status)))
    else:
        _print(name, status, profile, store)
    return _code(status)


def advance_sweep(sweep: str, *, store: Path, json_output: bool, just_ended: bool = False) -> int:
    """Advance a submitted sweep. ``just_ended``: this is the last act of one of its jobs. Returns an exit code; raises
    ``AblationError``."""
    folder = sweep_folder(sweep, store)
    about = submission_of(folder)
    if about is None:
        raise BadInput(f"{folder.name} was not submitted to a cluster; use `ablate submit` for that")
    if Path(about["code"]).resolve() != own_code():
        code = Path(about["code"])
        return advance_frozen(folder, code, store=store, json_output=json_output, just_ended=just_ended).wait()
    status = advance(folder.name, store=store, just_ended=just_ended, say=_say, warn=_warn)
    if json_output:
        print(json.dumps(None if status is None else _document(status)))
    return OK if status is None else _code(status)


def advance_frozen(
    folder: Path, code: Path, *, store: Path, json_output: bool = False, just_ended: bool = False
) -> "subprocess.Popen[bytes]":
    """Run ``ablate advance`` with the code that the sweep was submitted with. Raises ``BadInput`` if that is gone."""
    if not code.is_dir():
        raise BadInput(f"{code}, the program that {folder.name} was submitted with, is gone; submit the sweep again")
    options = [*(["--json"] if json_output else []), *(["--just-ended"] if just_ended else [])]
    arguments = ["advance", folder.name, "--store", str(store.absolute()), *options]
    path = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ablations", *arguments], env={**os.environ, "PYTHONPATH": path}
    )


def _print(name: str, status: Status, profile: str, store: Path) -> None:
    jobs = status.queued + len(status.running) - status.unsent
    queued = counted(jobs, "job") if jobs else "no jobs"
    print(f"{name}: {counted(status.total, 'trial')}, {status.ended} ended; {queued} in the queue of {profile}")
    if status.unsent:
        why = status.held_up or "SLURM has not confirmed them yet"
        print(f"{counted(status.unsent, 'job')} waiting outside it: {why}")
    watch = command("watch", name, store=store)
    if jobs or status.followed:
        print(f"It continues by itself. `{watch}` shows how far it has got, and makes the report at the end.")
    elif status.unsent:
        print(f"`{watch}`, or submitting again, sends them once SLURM accepts them.")


def _code(status: Status) -> int:
    if status.problem or status.counts["failed"] + status.counts["diverged"]:
        return TRIALS_FAILED
    looked_after = status.followed or status.queued - status.unsent or status.running
    left = status.ended < status.total or status.counts["cancelled"]
    return STOPPED if left and not looked_after else OK


def _document(status: Status) -> dict[str, object]:
    return {
        "name": status.name,
        "states": dict(status.counts),
        "queued": status.queued,
        "unsent": status.unsent,
        "held_up": status.held_up,
        "running": len(status.running),
        "problem": status.problem,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _warn(text: str) -> None:
    print(f"ablate: {text}", file=sys.stderr, flush=True)
