"""``ablate devcluster``: bring up, take down and inspect a real SLURM cluster on this machine."""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablations.errors import OK, STOPPED, AblationError, BadInput
from slurm import devcluster
from slurm.devcluster_config import DevclusterError, DevclusterRefused, Shape


def default_folder() -> Path:
    """One folder per user, wherever the command is called: it is the machine's cluster, not a project's."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "ablate" / "devcluster"


def up(folder: Path | None, *, nodes: int | None, accounting: bool, json_output: bool) -> int:
    """Bring up the cluster, or what is dead of it. Raises ``BadInput``, ``AblationError``."""
    shape = Shape(nodes=nodes or Shape.nodes, accounting=accounting) if nodes or accounting else None
    with _errors():
        found = devcluster.up(folder or default_folder(), shape)
    return _show(found, json_output=json_output)


def down(folder: Path | None, *, json_output: bool) -> int:
    """Take the cluster down, with its jobs. Raises ``BadInput``, ``AblationError``."""
    place = folder or default_folder()
    with _errors():
        there = devcluster.down(place)
    if json_output:
        print(json.dumps({"folder": str(place.resolve()), "ended": there}))
    else:
        print(f"{place} is down" if there else f"there is no cluster in {place}")
    return OK


def status(folder: Path | None, *, json_output: bool) -> int:
    """Print the state of the cluster. Returns ``STOPPED`` if it is not up, or not all of it."""
    with _errors():
        found = devcluster.status(folder or default_folder())
    return _show(found, json_output=json_output)


def _show(found: devcluster.Status, *, json_output: bool) -> int:
    if json_output:
        print(json.dumps(_document(found)))
    else:
        _print(found)
    return OK if found.up else STOPPED


def _document(found: devcluster.Status) -> dict[str, object]:
    return {
        "folder": str(found.folder),
        "up": found.up,
        "slurm_conf": str(found.slurm_conf) if found.shape else None,
        "daemons": [
            {"name": daemon.name, "pid": daemon.pid, "log": str(daemon.log)} for daemon in found.daemons
        ],
        "nodes": found.nodes,
        "jobs": found.jobs,
    }  # fmt: skip


def _print(found: devcluster.Status) -> None:
    if found.shape is None:
        print(f"there is no cluster in {found.folder}; `ablate devcluster up` starts one")
        return
    print(f"{found.folder}: {found.shape}")
    width = max(len(daemon.name) for daemon in found.daemons)
    for daemon in found.daemons:
        state = f"alive, process {daemon.pid}" if daemon.pid is not None else f"dead, see {daemon.log}"
        print(f"  {daemon.name:<{width}}  {state}")
    if found.nodes is None:
        print("the controller does not answer")
    else:
        print(f"nodes: {', '.join(f'{name} {state}' for name, state in found.nodes.items())}")
    if found.jobs is not None:
        print(f"queue: {', '.join(f'{count} {state}' for state, count in found.jobs.items()) or 'no jobs'}")
    if not found.up:
        print("`ablate devcluster up` starts what is dead, `ablate devcluster down` stops the rest")
    print(f"export SLURM_CONF={shlex.quote(str(found.slurm_conf))}")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DevclusterRefused as error:
        raise BadInput(str(error)) from None
    except DevclusterError as error:
        raise AblationError(str(error)) from None
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}; choose another folder with --folder") from None
