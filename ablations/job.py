"""What runs in a job's process: the stages of one job, in order, each recorded as soon as it is done.

Writes only into its own stage folders, and never to the user's terminal: output and tracebacks go to the job's log. A
stage that has a record is skipped; one that another process holds ends the job with ``EXIT_HELD``. A request to stop
(SIGTERM, SIGINT, SIGUSR2, or the marker that prunes the trial) reaches the stage at its next step; it saves its state
and the job ends with ``EXIT_INTERRUPTED``. Whatever a stage raises is kept in its ``failure.json``.
"""

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations import failures
from ablations.crew import EXIT_LOST, Crew, follow
from ablations.identity import identity_fields
from ablations.lease import Lease, LeaseHeld, LeaseLost, acquire
from ablations.payload import PayloadError, decode, encode
from ablations.provenance import of_this_process
from ablations.stages import Stage, input_kind
from ablations.store import StageFolder, Store
from mm1core.errors import DataError, Interrupted
from mm1core.stages import KINDS
from slurm.launcher import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK

EXIT_STORE = 74
"""The store cannot be written (EX_IOERR of sysexits.h); the log says why."""
EXIT_HELD = 77
"""Another process works on the stage this job needs next."""
TARGET = "ablations.job:run"
_CLOCK = "%H:%M:%S"


def job_payload(
    stages: Sequence[Stage],
    *,
    store: Path,
    marker: Path | None,
    attempt: int,
    threads: int,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The payload that ``run`` is called with. ``marker``: the file whose presence prunes the trial. ``provenance``:
    what the records of all jobs have in common."""
    return {
        "stages": [
            {
                "kind": stage.kind,
                "key": stage.key,
                "version": stage.version,
                "config": encode(stage.config),
                "inputs": dict(stage.inputs),
            }
            for stage in stages
        ],
        "store": str(store),
        "marker": None if marker is None else str(marker),
        "attempt": attempt,
        "threads": threads,
        "provenance": dict(provenance),
    }


def run(payload: dict[str, Any]) -> int:
    """Run the payload's stages. Returns an exit code; an exception is a fault of this program."""
    stop = _Stop(payload["marker"])
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(payload["threads"])
    store = Store(Path(payload["store"]))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from mm1core.ranks import joined  # imports torch

        with joined() as ranks:
            if ranks.first:
                return _lead(payload, store, stop, Crew(ranks))
            return follow(
                payload,
                ranks,
                folder_of=lambda stage: store.stage(stage["kind"], stage["key"]),
                call=lambda stage: _call_stage(_StageRun(stage=stage, payload=payload, store=store), stop),
            )
    return _lead(payload, store, stop, Crew())


def _lead(payload: dict[str, Any], store: Store, stop: "_Stop", crew: Crew) -> int:
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt=_CLOCK, stream=sys.stdout)
    logging.getLogger("mm1core").setLevel(logging.INFO)
    _say(f"attempt {payload['attempt']}, process {os.getpid()} on {socket.gethostname()}")
    for key, value in payload["provenance"].get("after_memory_fault", {}).items():
        _say(f"{key} is {value} now, because an attempt ran out of memory")
    for stage in payload["stages"]:
        code = crew.hear(_run_stage(_StageRun(stage=stage, payload=payload, store=store), stop, crew))
        if code != EXIT_OK:
            return code
    return EXIT_OK


@dataclass(frozen=True, kw_only=True)
class _StageRun:
    stage: Mapping[str, Any]
    payload: Mapping[str, Any]
    store: Store

    @property
    def folder(self) -> StageFolder:
        return self.store.stage(self.stage["kind"], self.stage["key"])


class _Stop:
    """Answers the question a stage asks at every step: ``None``, or why it must stop."""

    def __init__(self, marker: str | None) -> None:
        self._marker = marker
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._remember)

    def __call__(self) -> str | None:
        if self._marker is not None and os.path.exists(self._marker):
            return "pruned"
        return "preempted" if self._signalled else None

    def _remember(self, number: int, frame: Any) -> None:
        self._signalled = True


def _run_stage(one: _StageRun, stop: _Stop, crew: Crew) -> int:
    name = f"{one.stage['kind']}/{one.stage['key']}"
    try:
        one.folder.work.mkdir(parents=True, exist_ok=True)
        if one.folder.record(_say) is not None:
            _say(f"{name} is already done")
            return EXIT_OK
        if (reason := stop()) is not None:
            _say(f"{name} is not started: {reason}")
            return EXIT_INTERRUPTED
        lease = acquire(one.folder.path, on_lost=_leave_at_once)
    except LeaseHeld as held:
        _say(str(held))
        return EXIT_HELD
    except OSError as error:
        return _disk_stops(error)
    try:
        if one.folder.record(_say) is not None:  # it was finished between our look and our lease
            return EXIT_OK
        return _work(one, stop, lease, crew)
    finally:
        lease.release()


def _work(one: _StageRun, stop: _Stop, lease: Lease, crew: Crew) -> int:
    name = f"{one.stage['kind']}/{one.stage['key']}"
    resumed = one.folder.newest_checkpoint() is not None
    _say(f"{name} continues" if resumed else f"{name} begins")
    started = time.time()
    try:
        _check_inputs(one)
        crew.begin(one.stage["kind"])
        result = _call_stage(one, stop)
        crew.left()
        lease.confirm()
        one.folder.write_record(_record(one, result, started=started, resumed=resumed))
        one.folder.drop_checkpoints()
    except Interrupted as interrupted:
        crew.left()
        _say(f"{name} {interrupted}")
        return EXIT_INTERRUPTED
    except LeaseLost as lost:
        _say(str(lost))
        return EXIT_HELD
    except BaseException as error:
        traceback.print_exc()
        if (fault := failures.disk_fault(error, one.store.root)) is not None:
            return _disk_stops(fault)
        if crew.failed_elsewhere(one.folder, one.payload["attempt"]):
            return EXIT_ERROR
        if crew.lost_one(error):
            return EXIT_LOST
        try:
            one.folder.write_failure(failures.from_exception(error, attempt=one.payload["attempt"]))
        except OSError as unwritable:
            return _disk_stops(unwritable)
        return EXIT_ERROR
    _say(f"{name} is done after {time.time() - started:.1f} s")
    return EXIT_OK


def _config(one: _StageRun) -> Any:
    """The stage's configuration, as the class of its kind."""
    stage, kind = one.stage, KINDS[one.stage["kind"]]
    if kind.version != stage["version"]:
        raise PayloadError(
            f"version: {stage['kind']} is at version {kind.version}, the plan asks for {stage['version']}; "
            "the program changed while the sweep was running: start `ablate run` again"
        )
    return decode(kind.config, stage["config"])


def _check_inputs(one: _StageRun) -> None:
    """Check what the inputs hold: a flipped bit in weights would be trained on, or scored, unnoticed. Raises
    ``DataError``."""
    for role, folder in _inputs(one).items():
        if folder.record(_say, contents=True) is None:
            raise DataError(
                f"{role}: {folder.path} does not hold what was recorded, or has no record; "
                "run the same command again, which first redoes that stage"
            )


def _inputs(one: _StageRun) -> dict[str, StageFolder]:
    return {role: one.store.stage(input_kind(role), key) for role, key in one.stage["inputs"].items()}


def _call_stage(one: _StageRun, stop: _Stop) -> dict[str, Any]:
    inputs = {role: folder.work for role, folder in _inputs(one).items()}
    module, _, function = KINDS[one.stage["kind"]].target.partition(":")
    run_stage = getattr(importlib.import_module(module), function)
    result: dict[str, Any] = run_stage(_config(one), inputs=inputs, work=one.folder.work, stop=stop)
    return result


def _record(one: _StageRun, result: dict[str, Any], *, started: float, resumed: bool) -> dict[str, Any]:
    """Everything before ``provenance`` is the same in every run of the stage."""
    finished = time.time()
    return {
        "kind": one.stage["kind"],
        "key": one.stage["key"],
        "version": one.stage["version"],
        "config": identity_fields(_config(one)),
        "inputs": one.stage["inputs"],
        "result": result,
        "files": one.folder.files(),
        "provenance": {
            **one.payload["provenance"],
            **of_this_process(),
            "host": socket.gethostname(),
            "started": round(started, 3),
            "finished": round(finished, 3),
            "seconds": round(finished - started, 3),
            "attempt": one.payload["attempt"],
            "resumed": resumed,
        },
    }


def _disk_stops(error: OSError) -> int:
    _say(f"the store cannot be written: {error}")
    return EXIT_STORE


def _leave_at_once() -> None:
    """Another process took this one for dead and works in the same folder: not one more byte may be written."""
    os.write(2, b"the lease was taken over; leaving\n")
    os._exit(EXIT_HELD)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the log may be on the disk that is full
        print(f"{time.strftime(_CLOCK)} {text}", flush=True)
