"""Calls SLURM's own commands as if from a fresh shell: what an outer job or a user's habits put into the environment
does not reach them, nor does Ctrl-C on the terminal."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

_INHERITED = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SQUEUE_", "SACCT_", "SCONTROL_", "SCANCEL_", "SUBMITIT_")
_DISTRIBUTED = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_PATIENCE = 30.0
"""Seconds to wait for an answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    ok: bool
    text: str
    """Standard output."""
    problem: str
    """What the command said on standard error, in one line."""


class Slurm:
    """One cluster."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment``: variables to set, such as ``SLURM_CONF`` where the cluster is not the machine's own."""
        self._environment = dict(environment or {})

    def ask(self, *command: str, patience: float = _PATIENCE) -> Answer:
        """Run one command and return what it said. Never raises: if the command is missing, the answer says so."""
        try:
            ended = subprocess.run(
                command,
                env={**clean(os.environ), **self._environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=patience,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return Answer(ok=False, text="", problem=f"{command[0]}: no answer after {patience:.0f} seconds")
        except OSError as error:
            return Answer(ok=False, text="", problem=f"{command[0]}: {error.strerror}")
        said = " ".join(line.strip() for line in ended.stderr.splitlines() if line.strip())
        return Answer(ok=ended.returncode == 0, text=ended.stdout, problem=said)


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables by which SLURM tells a job about itself, or a user changes its commands.
    ``SLURM_CONF``, which says where the cluster is, stays."""
    return {
        name: value
        for name, value in environment.items()
        if name == "SLURM_CONF" or not (name.startswith(_INHERITED) or name in _DISTRIBUTED)
    }
