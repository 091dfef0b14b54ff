"""The batch scripts that a cluster would get first, to be looked at before anything runs. Writes nothing.

Needs no SLURM. They are exactly what ``ablate submit`` would send, except for the name of the jobs' folder, which is
drawn when they are sent, and except where the cluster's arrays are shorter than the number of jobs and the profile's
``array_cap``.
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
"""Stands for the folder's name, which is drawn."""


def first_scripts(sweep: Sweep, left: Sequence[Job], profile: Profile, *, store: Path, most: int) -> list[str]:
    """The scripts for those of the jobs ``left`` that can start, ``most`` at a time. Empty if there are none, as for a
    search, whose arms are not known yet. Raises ``BadInput``."""
    names = [job_name(job) for job in islice((job for job in left if not job.after), most)]
    length = profile.array_cap or most
    parts = [names[begin : begin + length] for begin in range(0, len(names), length)]
    return [script_of(sweep, part, profile, store=store, together=len(names)) for part in parts]


def controller_script(sweep: Sweep, profile: Profile, *, store: Path) -> str | None:
    """The script of the small job that looks after the others, with its first pause; ``None`` if there is no such
    job."""
    from slurm.script import follower_script  # imports submitit

    site = cluster_site(sweep, profile, store=store, code=frozen_code(store), alone=True)
    if profile.controller is False or site.afterwards is None:
        return None
    folder = store.absolute() / "sweeps" / sweep.name / CLUSTER
    return follower_script(site, site.afterwards, folder)


def script_of(sweep: Sweep, names: Sequence[str], profile: Profile, *, store: Path, together: int | None = None) -> str:
    """The script for jobs of these names, out of ``together`` that are handed over; apart from names, all jobs of a
    sweep ask for the same. Raises ``BadInput``."""
    from slurm.handover import share
    from slurm.script import batch_script  # imports submitit

    throttle = share(profile.throttle, len(names), together or len(names))
    folder = store.absolute() / "sweeps" / sweep.name / CLUSTER / _FOLDER
    jobs = [
        launcher.Job(name=name, target=TARGET, payload={}, log=folder, resources=on_a_node(sweep)) for name in names
    ]
    batch = Batch(folder=folder, jobs=dict(enumerate(jobs)), size=len(jobs))
    try:
        site = cluster_site(sweep, profile, store=store, code=frozen_code(store), alone=True)
        return batch_script(batch, site, throttle=throttle)
    except launcher.LauncherError as error:
        raise BadInput(str(error)) from None
