"""Where the jobs of a sweep run, and what each of them gets: this machine, or a SLURM cluster by its profile."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ablations.plan import Plan
from ablations.profile_file import Cluster
from ablations.store import Warn
from ablations.sweep import Sweep
from mm1core.stages import KINDS, PretrainStage
from slurm.launcher import Launcher, Resources
from slurm.local import LocalLauncher
from slurm.machine import cores, gpus
from slurm.profile import Profile

if TYPE_CHECKING:
    from slurm.cluster import ClusterLauncher
    from slurm.script import Site

_LIBRARIES = ("torch", "lightning.pytorch", "transformers", "tokenizers", "ablations.job")
"""What every job imports; the fork server imports it once."""
CLUSTER = "cluster"
"""The folder, in a sweep's folder, where the jobs in a cluster's queue are written down."""


def on_this_machine(
    sweep: Sweep, plan: Plan, *, workers: int | None, folder: Path, warn: Warn
) -> tuple[Launcher, Resources]:
    resources, capacity = share(sweep, workers, warn)
    launcher = LocalLauncher(
        modules=modules(plan),
        capacity=capacity,
        gpus=gpus() if resources.gpus else (),
        log=folder / "server.log",
    )
    return launcher, resources


def on_cluster(
    sweep: Sweep,
    cluster: Cluster,
    *,
    workers: int | None,
    store: Path,
    code: Path,
    alone: bool,
    just_ended: bool = False,
) -> "tuple[ClusterLauncher, Resources]":
    """``code``: the packages that jobs run. ``alone``: nobody waits for the jobs, and they see to what comes next.
    ``just_ended``: this is the last act of one of them."""
    from slurm.cluster import ClusterLauncher  # imports submitit
    from slurm.commands import Slurm

    folder = store / "sweeps" / sweep.name
    site = cluster_site(sweep, cluster.profile, store=store, code=code, alone=alone)
    launcher = ClusterLauncher(
        site, folder=folder / CLUSTER, slurm=Slurm(cluster.environment), capacity=workers, just_ended=just_ended
    )
    return launcher, on_a_node(sweep)


def cluster_site(sweep: Sweep, profile: Profile, *, store: Path, code: Path, alone: bool) -> "Site":
    """What the jobs of a sweep have in common; arguments as for ``on_cluster``."""
    from slurm.script import Afterwards, Site

    folder = store.absolute() / "sweeps" / sweep.name
    advance = ("-m", "ablations", "advance", sweep.name, "--store", str(store.absolute()))
    return Site(
        profile=profile,
        title=sweep.name,
        code=code,
        afterwards=Afterwards(arguments=advance, log=folder / "advance.log") if alone else None,
    )


def on_a_node(sweep: Sweep) -> Resources:
    """What each job asks a cluster for."""
    wanted = sweep.resources
    return Resources(cpus=wanted.cpus, gpus=wanted.gpus, nodes=wanted.nodes, memory=wanted.memory, time=wanted.time)


def share(sweep: Sweep, workers: int | None, warn: Warn) -> tuple[Resources, int]:
    """What each job gets of this machine, and how many run side by side."""
    wanted, devices = sweep.resources, gpus()
    if wanted.gpus > 1 or wanted.nodes > 1:
        warn("here each trial is one process on at most one GPU; several GPUs or nodes need a cluster (--profile)")
    if wanted.gpus and devices:
        return Resources(cpus=wanted.cpus, gpus=1), min(len(devices), workers or len(devices))
    if wanted.gpus:
        warn(f"resources.gpus is {wanted.gpus} and this machine has none: running on the CPU")
    return Resources(cpus=wanted.cpus), workers or max(1, cores() // wanted.cpus)


def modules(plan: Plan) -> list[str]:
    """What the fork server imports: the libraries, the stages' own modules, the decoders' classes."""
    stages = plan.stages().values()
    kinds = {stage.kind for stage in stages} or KINDS.keys()  # a search has no arms yet
    models = {stage.config.decoder.architecture for stage in stages if isinstance(stage.config, PretrainStage)}
    targets = sorted(KINDS[kind].target.partition(":")[0] for kind in kinds)
    return [*_LIBRARIES, *targets, *sorted(name for model in models if (name := _model_module(model)))]


def _model_module(architecture: str) -> str | None:
    """The module in which Transformers keeps an architecture, found without importing it."""
    name = architecture.replace("-", "_")
    spec = find_spec("transformers")
    places = (spec.submodule_search_locations or []) if spec else []
    known = any((Path(place) / "models" / name / f"modeling_{name}.py").exists() for place in places)
    return f"transformers.models.{name}.modeling_{name}" if known else None
