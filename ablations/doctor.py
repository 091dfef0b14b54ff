"""``ablate doctor``: whether a profile works, by asking its cluster and by running one small job on it.

What can be known without a job is checked first; the job is sent only if none of that failed. It leaves nothing in the
store or the queue.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ablations.doctor_checks import (
    Check,
    check_gpus,
    check_partition,
    check_time,
    failed,
    longest_run,
    ok,
    out_of_service,
    wanted_partitions,
)
from ablations.doctor_job import NotStarted, as_a_sweep_would, prepared, visit
from ablations.errors import OK, STOPPED, STORE_UNUSABLE, StoreError
from ablations.invocation import command
from ablations.node_checks import Here, check_node, explain_silence
from ablations.node_facts import TOKEN, source_digest
from ablations.profile_file import DEVCLUSTER, Cluster, find_cluster
from ablations.provenance import PACKAGES, package_version
from ablations.store import Store, store_errors
from slurm.batch import Batch
from slurm.commands import Slurm
from slurm.launcher import LauncherError
from slurm.partition import PARTITIONS, Node, Partition, nodes_of, parse_nodes, parse_partitions
from slurm.script import Site, batch_script
from slurm.submission import NoAnswer, NoPlace, QueueFull, Refused, rehearse

if TYPE_CHECKING:
    from rich.console import Console

NAMES = (
    "store", "SLURM", "partition", "time", "GPUs", "sbatch", "job",
    "node: Python", "node: store", "node: packages", "node: program", "node: GPUs", "node: torch", "node: SLURM",
    "node: disk", "node: /tmp", "node: clock",
)  # fmt: skip
"""Every check, in order."""
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "not checked": "dim"}
_LATER = "try again when SLURM answers"


def doctor(profile: str, *, store: Path, gpus: int | None, wait: float, json_output: bool) -> int:
    """Check a profile. Returns the exit code of the first failure; raises ``BadInput`` if there is no profile or no
    SLURM."""
    from rich.console import Console

    cluster = find_cluster(profile)
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    found: list[Check] = []

    def take(*checks: Check) -> None:
        for check in checks:
            found.append(check)
            if not json_output:
                _print(check, console)

    count = int(cluster.profile.gpu_type is not None) if gpus is None else gpus
    with store_errors(store):
        for check in _examine(cluster, store, count, wait=wait, pretended=profile == DEVCLUSTER):
            take(*_left_out(NAMES[len(found) : NAMES.index(check.name)]), check)
    take(*_left_out(NAMES[len(found) :]))
    failures = [check for check in found if check.failed]
    if json_output:
        checks = [{key: value for key, value in asdict(one).items() if key != "exit_code"} for one in found]
        print(json.dumps({"profile": profile, "ok": not failures, "checks": checks}, indent=1))
    elif not failures:
        console.print(f"\n{profile} works: {command('submit', 'SWEEP.yaml', '--profile', profile, store=store)}")
    return failures[0].exit_code if failures else OK


def _left_out(names: Iterable[str]) -> list[Check]:
    return [Check(name=name, state="not checked", text="something else failed") for name in names]


def _print(check: Check, console: "Console") -> None:
    style = _STYLES[check.state]
    console.print(f"[{style}]{check.state:<11}[/{style}]  {check.name:<14}  ", end="")
    console.print(check.text, markup=False)
    if check.advice:
        console.print(f"{'':31}{check.advice}", markup=False)


def _examine(cluster: Cluster, store: Path, gpus: int, *, wait: float, pretended: bool) -> Iterator[Check]:
    slurm = Slurm(cluster.environment)
    sound = True
    nodes: list[Node] = []
    wanted: list[Partition] = []
    for check in chain([_check_store(store)], _ask_slurm(cluster, slurm, gpus, wanted, nodes)):
        sound &= not check.failed
        yield check
    if not sound:
        return
    with prepared(store, gpus, longest=longest_run(wanted)) as batch:
        check = _rehearse(batch, cluster, slurm, nodes)
        yield check
        if not check.failed:
            yield from _send(batch, cluster, slurm, gpus, wait=wait, pretended=pretended)


def _ask_slurm(
    cluster: Cluster, slurm: Slurm, gpus: int, wanted: list[Partition], nodes: list[Node]
) -> Iterator[Check]:
    """Fills ``wanted`` and ``nodes`` with the partitions and nodes that jobs may go to."""
    answer = slurm.ask(*PARTITIONS)
    if not answer.ok:
        problem = answer.problem or "scontrol gives no reason"
        yield failed("SLURM", f"the controller does not answer: {problem}", _LATER, exit_code=STOPPED)
        return
    yield ok("SLURM", f"the controller answers, {slurm.ask('sbatch', '--version').text.strip()}")
    partitions = parse_partitions(answer.text)
    check = check_partition(cluster.profile, partitions)
    yield check
    if check.failed:
        return
    wanted += wanted_partitions(cluster.profile, partitions)
    yield check_time(cluster.profile, wanted)
    answer = slurm.ask(*nodes_of(",".join(one.name for one in wanted)))
    if not answer.ok:
        yield failed("GPUs", f"sinfo does not answer: {answer.problem}", _LATER, exit_code=STOPPED)
        return
    nodes += parse_nodes(answer.text)
    yield check_gpus(cluster.profile, gpus, nodes)


def _check_store(store: Path) -> Check:
    try:
        Store(store).prepare()
    except StoreError as error:
        return failed("store", str(error), "name another with --store", exit_code=STORE_UNUSABLE)
    return ok("store", f"{store.absolute()} can be written here")


def _rehearse(batch: Batch, cluster: Cluster, slurm: Slurm, nodes: list[Node]) -> Check:
    away = out_of_service(nodes)
    try:
        text = batch_script(as_a_sweep_would(batch), Site(profile=cluster.profile, title="ablate-doctor"))
        said = rehearse(text, batch.folder / "rehearsal.sh", slurm)
    except (Refused, QueueFull, NoAnswer, LauncherError) as error:
        if away and isinstance(error, NoPlace):  # sending it will show whether SLURM takes the job for later
            return Check(name="sbatch", state="not checked", text=f"it cannot tell while nodes take no jobs: {away}")
        return _refusal("sbatch", error)
    return ok("sbatch", f"accepts the script: {said}")


def _refusal(name: str, error: Exception) -> Check:
    if isinstance(error, NoAnswer):
        return failed(name, str(error), _LATER, exit_code=STOPPED)
    if isinstance(error, QueueFull):
        advice = "wait until fewer jobs are in the queue; if it is a limit on one job, ask for less or name another qos"
        return failed(name, f"a limit: {error}", advice, exit_code=STOPPED)
    return failed(name, str(error), "correct what this message names in the profile: account, qos, flags, partition")


def _send(batch: Batch, cluster: Cluster, slurm: Slurm, gpus: int, *, wait: float, pretended: bool) -> Iterator[Check]:
    title = f"ablate-doctor-{batch.folder.name}"
    try:
        with _telling() as say:
            found = visit(batch, title=title, profile=cluster.profile, slurm=slurm, patience=wait, say=say)
    except NotStarted as reason:
        yield failed(
            "job",
            f"not started after {wait:.0f} s, and cancelled. SLURM's reason: {reason}",
            "wait longer (--wait SECONDS), or use a partition or QOS with free nodes",
            exit_code=STOPPED,
        )
        return
    except (Refused, QueueFull, NoAnswer, LauncherError) as error:
        yield _refusal("job", error)
        return
    if found.facts is None:
        yield from explain_silence(found)
        return
    yield ok("job", f"ran on {found.facts.node}, {found.facts.written - found.facts.began:.0f} s")
    here = Here(
        token=(batch.folder.parent / TOKEN).read_text(),
        packages={name: package_version(name) for name in PACKAGES},
        source=source_digest(),
        place=str(Path(__file__).parents[1]),
    )
    yield from check_node(
        found.facts, here, gpus=gpus, pretended=pretended, queued_at=found.queued_at, read_at=found.read_at
    )


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Show what is being waited for: live on a terminal, elsewhere a line each time it changes."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status("submitting a job") as status:
            yield lambda text: status.update(f"{text}  (Ctrl-C cancels it)")
        return
    last = ""

    def say(text: str) -> None:
        nonlocal last
        if text != last:
            print(text, file=sys.stderr, flush=True)
        last = text

    yield say
