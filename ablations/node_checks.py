"""What ``ablate doctor`` concludes from what its job found on a node, or from its silence. Pure but for the clock and
versions that are handed in."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ablations.doctor_checks import Check, failed, ok
from ablations.doctor_job import PROBE, Visit
from ablations.node_facts import Facts

_OLDEST = (3, 11)
_APART = 5.0
"""Seconds between two clocks that are worth a warning."""
_LITTLE = 2**30
_SHARED = (
    "name with --store a folder that login and compute nodes share under the same path; in a container, bind it there"
)
_LOG_LINES = 5


@dataclass(frozen=True, kw_only=True)
class Here:
    """The side that asked."""

    token: str
    packages: Mapping[str, str]
    source: str
    place: str


def check_node(
    facts: Facts, here: Here, *, gpus: int, pretended: bool, queued_at: float, read_at: float
) -> list[Check]:
    """Judge the facts of a node. ``pretended``: the cluster's GPUs are only names, not devices."""
    return [
        ok("node: Python", facts.python),
        _check_store(facts, here),
        _check_packages(facts, here),
        _check_program(facts, here),
        _check_given(facts, gpus),
        _check_torch(facts, gpus, pretended=pretended),
        _check_slurm(facts),
        _check_space(facts),
        _check_scratch(facts),
        _check_clock(facts, queued_at, read_at),
    ]


def _warning(name: str, text: str, advice: str) -> Check:
    return Check(name=name, state="warning", text=text, advice=advice)


def _check_store(facts: Facts, here: Here) -> Check:
    if facts.token != here.token:
        return failed("node: store", f"{facts.node} does not see what was written here", _SHARED)
    return ok("node: store", f"{facts.node} reads what was written here, and what it writes is read here")


def _check_packages(facts: Facts, here: Here) -> Check:
    name = "node: packages"
    if facts.broken:
        return failed(
            name,
            "; ".join(f"{package} cannot be imported ({problem})" for package, problem in facts.broken.items()),
            "install it for the Python of the profile, or correct python and setup in the profile",
        )
    other = [
        f"{package} {version}, here {here.packages.get(package)}"
        for package, version in facts.packages.items()
        if version != here.packages.get(package)
    ]
    if other:
        return _warning(name, "; ".join(other), "install the same versions on both sides: results may differ")
    return ok(name, ", ".join(f"{package} {version}" for package, version in facts.packages.items()))


def _check_program(facts: Facts, here: Here) -> Check:
    if facts.source != here.source:
        return failed(
            "node: program",
            f"the modules in {facts.place} are not those in {here.place}",
            "install the same version of this program on both sides: the one here gives jobs their work",
        )
    return ok("node: program", f"the same as here, in {facts.place}")


def _check_given(facts: Facts, gpus: int) -> Check:
    name = "node: GPUs"
    if not gpus:
        return ok(name, "none asked for")
    if len(facts.gpus) < gpus:
        return failed(
            name,
            f"{gpus} asked for, and SLURM gave {len(facts.gpus)}",
            "try the other gpu_request in the profile (gpus-per-node or gres), and make sure that setup does not "
            "change CUDA_VISIBLE_DEVICES",
        )
    return ok(name, f"SLURM gave {len(facts.gpus)}: {', '.join(facts.gpus)}")


def _check_torch(facts: Facts, gpus: int, *, pretended: bool) -> Check:
    name = "node: torch"
    if not gpus:
        return ok(name, "no GPUs asked for")
    if pretended:
        return Check(name=name, state="not checked", text="the GPUs of the development cluster are only names")
    if facts.torch_gpus < gpus:
        return failed(
            name,
            f"torch sees {facts.torch_gpus} of {gpus} GPUs",
            "install a torch that matches the node's driver; a container must be started with its GPUs (--nv)",
        )
    return ok(name, f"torch sees {facts.torch_gpus} GPUs")


def _check_slurm(facts: Facts) -> Check:
    if facts.slurm:
        return _warning(
            "node: SLURM",
            f"jobs cannot submit jobs from the node ({facts.slurm})",
            "submit from the login node; in a container, bind SLURM's commands and its configuration",
        )
    return ok("node: SLURM", "sbatch and squeue work there too")


def _check_space(facts: Facts) -> Check:
    text = f"{facts.free_bytes / 2**30:,.1f} GiB free in the store"
    if facts.free_bytes < _LITTLE:
        return _warning("node: disk", text, "free some space: checkpoints need it")
    return ok("node: disk", text)


def _check_scratch(facts: Facts) -> Check:
    if facts.scratch:
        return failed(
            "node: /tmp",
            f"temporary files cannot be written ({facts.scratch})",
            "add to setup in the profile: export TMPDIR=, with a writable folder on the node",
        )
    return ok("node: /tmp", "can be written")


def _check_clock(facts: Facts, queued_at: float, read_at: float) -> Check:
    """Compare the node's clock with ours. How far it is ahead lies between two bounds: the job began after it was
    queued, and wrote before that was read."""
    least, most = facts.written - read_at, facts.began - queued_at
    if least > _APART or most < -_APART:
        apart = f"at least {least:.0f} s ahead of" if least > 0 else f"at least {-most:.0f} s behind"
        return _warning(
            "node: clock", f"{apart} the clock here", "tell the administrators: times in logs and records differ"
        )
    return ok("node: clock", f"at most {max(-least, most):.0f} s from the clock here")


def explain_silence(visit: Visit) -> Iterator[Check]:
    """Why a job that is over left no facts: the first step that it did not get past."""
    seen, said = visit.seen, re.search(rf"{PROBE} (\S+) (True|False)", visit.log)
    end = "" if seen is None else f"SLURM says {seen.state}" + (f" ({seen.reason})" if seen.reason else "")
    tail = " | ".join(line.strip() for line in visit.log.splitlines()[-_LOG_LINES:] if line.strip()) or "nothing"
    if seen is not None and seen.state not in ("COMPLETED", "FAILED"):
        yield failed(
            "job",
            f"it did not finish: {end}",
            "try again in case it was chance; if memory was short, ask for more with flags in the profile",
        )
        return
    yield ok("job", f"it is over; {end or 'SLURM has forgotten it'}")
    if visit.word is None:
        yield failed("node: store", f"what the job's script wrote into it is not seen here; {end}", _SHARED)
    elif said is None:
        yield failed(
            "node: Python",
            f"it does not start; the job's log ends with: {tail}",
            "correct python or setup in the profile",
        )
    elif tuple(int(number) for number in re.findall(r"\d+", said[1])[:2]) < _OLDEST:
        yield failed("node: Python", f"{said[1]} is older than 3.11", "name a newer one as python in the profile")
    else:
        yield ok("node: Python", said[1])
        if said[2] == "False":
            yield failed(
                "node: store", "the Python of the profile does not see the store's folder on the node", _SHARED
            )
        else:
            yield failed(
                "node: program",
                f"it left no result that can be read here; the job's log ends with: {tail}",
                "install this program and its dependencies for the Python of the profile",
            )
