"""The folder in which a launcher writes down its jobs, and the cluster and the user that these jobs belong to.

To a launcher on another cluster, or of another user, all jobs would seem to be lost, so that is refused. What is the
same for every launcher on the folder is asked once: which cluster it is, and how long its arrays may be.

``asked.json`` says when SLURM was last asked about the jobs: when many end together, the first look asks, and the
others go by what the jobs wrote.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.commands import Slurm
from slurm.launcher import LauncherError

_ARRAY_SIZE = 1001
"""SLURM's own default."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """When SLURM was last asked about the jobs."""

    age: float
    """Seconds since then."""
    reasons: Mapping[str, int]
    """Why jobs waited then, and how many for each reason."""


class Home:
    def __init__(self, folder: Path, slurm: Slurm) -> None:
        self.folder = folder.absolute()
        self._slurm = slurm
        self._here: dict[str, Any] | None = None

    def claim(self) -> None:
        """Note whose the jobs are, before the first one is sent. Raises ``OSError``."""
        if not (self.folder / "home.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / "home.json", self._look_around())

    def require(self) -> None:
        """Raises ``LauncherError`` where the jobs are not this cluster's and this user's."""
        noted = _read(self.folder / "home.json")
        if noted is None:
            return
        if noted["user"] != os.getuid():
            raise LauncherError(
                f"the jobs in {self.folder} belong to the user with ID {noted['user']}, and this user "
                f"(ID {os.getuid()}) may not see them; only that user can continue the sweep"
            )
        if noted["cluster"] == os.environ.get("SLURM_CLUSTER_NAME"):  # in a job
            return
        here = self._look_around()["cluster"]
        if noted["cluster"] and here and noted["cluster"] != here:
            raise LauncherError(
                f"the jobs in {self.folder} are in the queue of the cluster {noted['cluster']}, and this is {here}; "
                f"run the command on a login node of {noted['cluster']}; if that is gone for good, remove the folder"
            )

    def max_array_size(self) -> int:
        """Most jobs in an array."""
        noted = _read(self.folder / "home.json") or self._look_around()
        return int(noted["max_array_size"])

    def _look_around(self) -> dict[str, Any]:
        if self._here is None:
            text = self._slurm.ask("scontrol", "show", "config").text
            size = _value("MaxArraySize", text)
            self._here = {
                "cluster": _value("ClusterName", text),
                "user": os.getuid(),
                "max_array_size": int(size) if size.isdigit() else _ARRAY_SIZE,
            }
        return self._here

    def note_asked(self, reasons: Mapping[str, int]) -> None:
        """Note that SLURM was asked just now, and gave these ``reasons`` why jobs wait."""
        with suppress(OSError):  # where that cannot be noted, it is asked again
            _write(self.folder / "asked.json", {"time": time.time(), "reasons": dict(reasons)})

    def asked_within(self, seconds: float) -> Asked | None:
        """When SLURM was last asked, if that is less than ``seconds`` ago."""
        asked = _read(self.folder / "asked.json")
        if asked is None or not 0 <= (age := time.time() - asked["time"]) < seconds:
            return None
        return Asked(age=age, reasons=asked["reasons"])

    def forget(self) -> None:
        """Forget whose the jobs were, when nothing is left to do for them. Raises ``OSError``."""
        for name in ("home.json", "asked.json"):
            (self.folder / name).unlink(missing_ok=True)


def _value(name: str, text: str) -> str:
    """A value from the output of ``scontrol show config``; empty if it is not there."""
    found = re.search(rf"^{name}\s*=\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def _write(path: Path, content: Mapping[str, Any]) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps(content))
    half.rename(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content
