"""The batch script that a cluster would get first, to be looked at before anything runs. Writes nothing.

Needs no SLURM. Exactly what ``ablate submit`` would send, but for the name of the jobs' folder, which is drawn when
they are sent, and where the cluster's arrays are shorter than the number of jobs.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ablations.backlog import job_name
from ablations.errors import BadInput
from ablations.frozen import frozen_code
from ablations.job import TARGET
from ablations.launchers import CLUSTER, cluster_site, on_a_node
from ablations.plan import Job
from ablations.sweep import Sweep
from slurm import launcher
from slurm.batch import Batch
from slurm.profile import Profile

_FOLDER = "BATCH"
"""Stands for the twelve hex digits that are drawn."""


def first_script(sweep: Sweep, left: Sequence[Job], profile: Profile, *, store: Path, most: int) -> str | None:
    """For those of the jobs ``left`` that can start, ``most`` at a time. ``None`` where there are none, as for a
    search, whose arms are not known yet. Raises ``BadInput``."""
    names = [job_name(job) for job in islice((job for job in left if not job.after), most)]
    return script_of(sweep, names, profile, store=store) if names else None


def script_of(sweep: Sweep, names: Sequence[str], profile: Profile, *, store: Path) -> str:
    """For jobs of these names; apart from names, all jobs of a sweep ask for the same. Raises ``BadInput``."""
    from slurm.script import batch_script  # imports submitit

    folder = store.absolute() / "sweeps" / sweep.name / CLUSTER / _FOLDER
    jobs = [
        launcher.Job(name=name, target=TARGET, payload={}, log=folder, resources=on_a_node(sweep)) for name in names
    ]
    batch = Batch(folder=folder, jobs=dict(enumerate(jobs)), size=len(jobs))
    try:
        return batch_script(batch, cluster_site(sweep, profile, store=store, code=frozen_code(store), alone=True))
    except launcher.LauncherError as error:
        raise BadInput(str(error)) from None
