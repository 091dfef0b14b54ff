"""Finds and reads the profile of a cluster. All its mistakes are reported together, as those of a sweep file are.

A name stands for ``NAME.yaml`` in the user's folder of profiles, a path for itself. ``devcluster`` is built in: the
development cluster of this user, if it is up.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from ablations.border import Refused, check, words
from ablations.devcluster import default_folder
from ablations.errors import BadInput, Problem, SweepError, nearest
from ablations.sweep_file import TIME
from ablations.yaml_lines import Document, read_yaml
from slurm import devcluster
from slurm.profile import Controller, Flag, Profile

DEVCLUSTER = "devcluster"
_OURS = (
    "array", "begin", "cluster", "clusters", "comment", "dependency", "error", "job-name", "open-mode", "output",
    "parsable", "quiet", "requeue", "test-only", "wait", "wrap",
)  # fmt: skip
"""Options of ``sbatch`` that the program sets, and needs as it sets them."""
_KEYS = {"gpus-per-node": "gpu_type", "gres": "gpu_type", "gpus": "gpu_type"} | {
    key: key for key in ("partition", "account", "qos", "time")
}
"""Options that a key of the profile stands for."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where to submit, and how."""

    profile: Profile
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that SLURM's commands need to find it."""


def profiles_folder() -> Path:
    """One folder per user, where programs keep their settings."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "ablate" / "profiles"


def find_cluster(name: str) -> Cluster:
    """The cluster of a profile given by name or path, which this machine can submit to. Raises ``SweepError``,
    ``BadInput``."""
    profile = find_profile(name)
    environment = _devcluster_environment() if name == DEVCLUSTER else {}
    missing = [command for command in ("sbatch", "srun", "squeue", "scancel") if shutil.which(command) is None]
    if missing:
        raise BadInput(
            f"--profile {name}: this machine has no {', '.join(missing)}; run it where SLURM's commands are, such as "
            "a login node of the cluster"
        )
    return Cluster(profile=profile, environment=environment)


def find_profile(name: str) -> Profile:
    """A profile given by name or path, wherever its cluster is. Raises ``SweepError``, ``BadInput``."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return read_profile(Path(name))
    if name == DEVCLUSTER:
        return Profile(poll_seconds=1.0)
    folder = profiles_folder()
    file = folder / f"{name}.yaml"
    if not file.exists():
        names = [DEVCLUSTER, *sorted(path.stem for path in folder.glob("*.yaml"))]
        near = nearest(name, names)
        raise BadInput(
            f"--profile {name}: there is no {file}; allowed: {', '.join(names)}, or the path of a profile file"
            + (f"; did you mean {near!r}?" if near else "")
        )
    return read_profile(file)


def _devcluster_environment() -> dict[str, str]:
    """The environment of the development cluster that ``SLURM_CONF`` names, or else of the one in the default
    folder."""
    named = Path(os.environ.get("SLURM_CONF", ""))
    folder = named.parent if named.name == "slurm.conf" and devcluster.status(named.parent).up else default_folder()
    status = devcluster.status(folder)
    if not status.up:
        raise BadInput(
            f"--profile {DEVCLUSTER}: the cluster in {status.folder} is not fully up; "
            f"`ablate devcluster up` starts it. To use one in another folder, set SLURM_CONF to its slurm.conf"
        )
    return {"SLURM_CONF": str(status.slurm_conf)}


def read_profile(file: Path) -> Profile:
    """A checked profile. Raises ``SweepError`` with every mistake found."""
    document = read_yaml(file)
    allowed = ", ".join(item.name for item in fields(Profile))
    content = {} if document.content is None else document.content  # an empty file
    if not isinstance(content, dict):
        raise SweepError(Problem(file=file, line=1, problem="is not a profile", allowed=allowed))
    hints = {**get_type_hints(Profile), "controller": Controller}
    problems = [
        document.problem((name,), "is not a key of a profile", allowed=allowed, nearest=nearest(name, hints))
        for name in content
        if name not in hints
    ]
    values: dict[str, Any] = {}
    for name in hints.keys() & content.keys():
        if name == "controller" and content[name] in (None, False):
            values[name] = content[name]
            continue
        try:
            values[name] = check(hints[name], content[name])
        except Refused as refused:
            # For a value that may be of several types, the check names the one it tried last.
            inside, allowed_here = refused.inside, refused.allowed
            if "flags" in (name, *inside[:1]):
                inside, allowed_here = inside[: 1 + (name != "flags")], words(Flag)
            elif name == "controller" and not inside:
                allowed_here = f"false, or {allowed_here}"
            problems.append(
                document.problem((name, *inside), refused.problem, allowed=allowed_here, nearest=refused.nearest)
            )
    profile = Profile(**values)
    problems += _check_rest(profile, document)
    if problems:
        raise SweepError(sorted(problems, key=lambda problem: problem.line or 0))
    return profile


def _check_rest(profile: Profile, document: Document) -> list[Problem]:
    """Check what a type alone does not say."""
    problems = []

    def require(condition: bool, path: tuple[str | int, ...], problem: str) -> None:
        if not condition:
            problems.append(document.problem(path, problem))

    for key in ("partition", "account", "qos", "gpu_type", "python"):
        value = getattr(profile, key)
        require(value is None or _one_line(value), (key,), f"{value!r} must be one line of text")
    require(
        profile.time is None or TIME.fullmatch(profile.time) is not None,
        ("time",),
        f'{profile.time!r} is not hours:minutes:seconds, such as "4:00:00"',
    )
    for key in ("max_jobs", "array_cap", "throttle"):
        number = getattr(profile, key)
        require(number is None or number >= 1, (key,), f"{number} must be positive")
    store = profile.store
    require(
        store is None or (_one_line(store) and Path(_expanded(store)).is_absolute()),
        ("store",),
        f"{store!r} is not an absolute path; it must be the same on every node",
    )
    require(profile.poll_seconds >= 1, ("poll_seconds",), f"{profile.poll_seconds} must be at least 1")
    controller = profile.controller or Controller()
    for key in ("partition", "qos"):
        value = getattr(controller, key)
        require(value is None or _one_line(value), ("controller", key), f"{value!r} must be one line of text")
    problems += _check_flags(profile.flags, ("flags",), document)
    problems += _check_flags(controller.flags, ("controller", "flags"), document)
    return problems


def _check_flags(flags: Mapping[str, Flag], inside: tuple[str, ...], document: Document) -> list[Problem]:
    problems = []

    def require(condition: bool, path: tuple[str | int, ...], problem: str) -> None:
        if not condition:
            problems.append(document.problem(path, problem))

    for name, value in flags.items():
        place = (*inside, name)
        if re.fullmatch(r"[a-z][a-z-]+", name) is None:
            require(
                False, place, "is not an option of sbatch; write its long name without leading dashes, such as exclude"
            )
        elif name in _OURS:
            require(False, place, f"is set by ablate; not allowed: {', '.join(_OURS)}")
        elif name in _KEYS:
            require(False, place, f"has a key of its own; write {_KEYS[name]} in the profile")
        elif value is False:
            require(False, place, "is false; write null to take an option away, or leave it out")
        elif isinstance(value, str):
            require(_one_line(value), place, f"{value!r} must be one line of text")
    return problems


def store_of(profile: str) -> Path | None:
    """The store that a profile, given by name or path, names. Raises ``SweepError``, ``BadInput``."""
    named = find_profile(profile).store
    return None if named is None else Path(_expanded(named))


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))


def _one_line(text: str) -> bool:
    return bool(text.strip()) and len(text.splitlines()) == 1
