"""What ``ablate doctor`` concludes from a profile before a job is sent. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ablations.errors import BAD_INPUT, nearest
from slurm.partition import Node, Partition, seconds
from slurm.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report."""

    name: str
    state: Literal["ok", "warning", "failed", "not checked"]
    text: str
    advice: str = ""
    """What to do about a warning or a failure."""
    exit_code: int = BAD_INPUT
    """The command's exit code, if this is the first check that failed."""

    @property
    def failed(self) -> bool:
        return self.state == "failed"


def ok(name: str, text: str) -> Check:
    return Check(name=name, state="ok", text=text)


def failed(name: str, text: str, advice: str, *, exit_code: int = BAD_INPUT) -> Check:
    return Check(name=name, state="failed", text=text, advice=advice, exit_code=exit_code)


def wanted_partitions(profile: Profile, partitions: Iterable[Partition]) -> list[Partition]:
    """The partitions that jobs may go to, as far as they exist. sbatch takes a list too, for the first that is free."""
    if profile.partition is None:
        return [one for one in partitions if one.default]
    names = profile.partition.split(",")
    return [one for one in partitions if one.name in names]


def check_partition(profile: Profile, partitions: Sequence[Partition]) -> Check:
    name, known = "partition", [one.name for one in partitions]
    wanted = wanted_partitions(profile, partitions)
    if profile.partition is None and not wanted:
        return failed(name, "the cluster has no default partition", f"set partition to one of {', '.join(known)}")
    for one in (profile.partition or "").split(",") if profile.partition else ():
        if one not in known:
            near = nearest(one, known)
            return failed(
                name,
                f"{one} does not exist; there are {', '.join(known)}",
                f"write partition: {near}" if near else "correct partition in the profile",
            )
    closed = [one for one in wanted if one.state != "UP"]
    if len(closed) == len(wanted):
        return failed(
            name,
            ", ".join(f"{one.name} is {one.state}" for one in closed),
            "wait until the administrators open it, or write another partition in the profile",
        )
    default = " (the default one)" if profile.partition is None else ""
    return ok(name, ", ".join(f"{one.name} is {one.state}" for one in wanted) + default)


def longest_run(partitions: Sequence[Partition]) -> int | None:
    """Seconds that a job may run that goes to any of these; ``None`` if there is no limit."""
    limits = [one.longest for one in partitions]
    return None if None in limits else max((limit for limit in limits if limit is not None), default=None)


def check_time(profile: Profile, wanted: Sequence[Partition]) -> Check:
    longest = longest_run(wanted)
    limit = "no limit" if longest is None else f"a limit of {_time(longest)}"
    asked = None if profile.time is None else seconds(profile.time)
    if asked is not None and longest is not None and asked > longest:
        return failed(
            "time", f"{profile.time} is more than the partition's {_time(longest)}", f'write time: "{_time(longest)}"'
        )
    return ok("time", f"{profile.time or 'none in the profile'}; the partition has {limit}")


def check_gpus(profile: Profile, count: int, nodes: Sequence[Node]) -> Check:
    """Whether any node, busy or not, could give this many."""
    name, kind = "GPUs", profile.gpu_type
    kinds = sorted({one for node in nodes for one in node.gpus})
    if kind is not None and kind not in kinds:
        there = ", ".join(one or "GPUs without a type" for one in kinds) or "no GPUs"
        near = nearest(kind, filter(None, kinds))
        return failed(
            name,
            f"no node of the partition has {kind} GPUs; there are {there}",
            f"write gpu_type: {near}"
            if near
            else "correct gpu_type or partition in the profile, or leave gpu_type out",
        )
    most = max((node.gpus.get(kind, 0) if kind else sum(node.gpus.values()) for node in nodes), default=0)
    what = f"{kind} GPUs" if kind else "GPUs"
    if count > most:
        return failed(
            name,
            f"{count} {what} for a job, and no node of the partition has more than {most}",
            "a job runs on one node: ask for fewer (--gpus here, resources.gpus in a sweep), or use another partition",
        )
    return ok(name, f"{count} for a job; nodes have up to {most} {what}" if count else "none asked for")


def out_of_service(nodes: Sequence[Node]) -> str:
    """Nodes that take no jobs now, for a message."""
    return ", ".join(f"{node.name} {node.state}" for node in nodes if not node.in_service)


def _time(limit: int) -> str:
    hours, rest = divmod(limit, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
