"""What one SLURM cluster wants to be asked for: the part of a batch script that no job decides.

Data alone; ``ablations.profile_file`` reads and checks one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Flag = str | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Controller:
    """What the small job that looks after a submitted sweep asks for, where that is not what the others ask for."""

    partition: str | None = None
    """Where it is queued, such as a partition without GPUs; by default the profile's."""
    qos: str | None = None
    """Its quality of service; by default the profile's."""
    flags: Mapping[str, Flag] = field(default_factory=dict)
    """Further options of ``sbatch``, as ``flags`` of the profile. Those of the profile hold as well, but for the ones
    about the size of a job."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The keys of a profile file."""

    partition: str | None = None
    """Where jobs are queued; by default the cluster's own default."""
    account: str | None = None
    """Who is charged for them."""
    qos: str | None = None
    """Their quality of service."""
    gpu_type: str | None = None
    """The kind of GPU to ask for, such as ``a100``; by default any."""
    gpu_request: Literal["gpus-per-node", "gres"] = "gpus-per-node"
    """How GPUs are asked for: ``--gpus-per-node=a100:2`` or ``--gres=gpu:a100:2``."""
    time: str | None = None
    """Time limit of a job whose sweep names none (``resources.time``), such as ``"4:00:00"``."""
    setup: tuple[str, ...] = ()
    """Lines of bash before a job begins, such as ``module load cuda`` or ``export HF_HOME=/scratch/hf``."""
    flags: Mapping[str, Flag] = field(default_factory=dict)
    """Further options of ``sbatch`` by their long names, without dashes; ``true`` for one without a value, ``null``
    takes away one that is there by default."""
    max_jobs: int = 100
    """Most jobs in the cluster's queue at a time, waiting and running; the rest waits its turn here."""
    array_cap: int | None = None
    """Most jobs in an array, where that is to be less than the cluster allows."""
    throttle: int | None = None
    """Most jobs that run at a time of those that are handed over together as arrays; each array gets its share."""
    poll_seconds: float = 10.0
    """Between two questions to SLURM about all jobs; while nothing changes it grows to six times as much."""
    python: str | None = None
    """The command that starts Python on a node, such as ``apptainer exec image.sif python``; by default the Python
    that runs ``ablate``, under its path here."""
    store: str | None = None
    """The folder that keeps all finished work, where none is named (``--store``)."""
    controller: Controller | Literal[False] | None = None
    """What the small job asks for that looks after a submitted sweep; ``False`` where there is to be none."""
