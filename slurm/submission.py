"""Makes the batch script of a batch of jobs, and hands it to ``sbatch``.

The script is submitit's: ``SlurmExecutor`` knows sbatch's options and their spelling. What it runs, and how it is sent,
is ours, because of three things that submitit's own ``submit`` does. It starts its own process in the job, which
installs handlers for SIGTERM and SIGUSR2 and requeues by itself: a job of ours has exactly one owner of signals, and
where SLURM has requeued it already, a job that succeeds is reported as failed. It gives the job its work only after
sbatch has returned, so a kill in between leaves a job without work. And sbatch gets the environment of an outer job,
and the terminal's Ctrl-C.
"""

import re
import shlex
import sys
from math import ceil

from submitit.slurm.slurm import SlurmExecutor

from slurm.batch import Batch
from slurm.commands import Slurm
from slurm.launcher import EXIT_INTERRUPTED, LauncherError, Resources
from slurm.profile import Profile

_LIMITS = (
    "QOSMax", "QOSGrp", "AssocMax", "AssocGrp", "MaxSubmit", "MaxJobCount", "MaxJobsPer", "job submit limit",
    "Resource temporarily unavailable",
)  # fmt: skip
_NO_ANSWER = (
    "Unable to contact slurm controller", "Socket timed out", "Connection refused", "no answer after",
    "temporarily unable to accept job", "Zero Bytes were transmitted", "Communication connection failure",
)  # fmt: skip


class Refused(Exception):
    """``sbatch`` will not have these jobs; in its own words."""


class QueueFull(Exception):
    """A limit on the number of jobs, as it seems; in SLURM's own words."""


class NoAnswer(Exception):
    """Whether the jobs are in the queue is not known; in SLURM's own words."""


def send(batch: Batch, *, title: str, profile: Profile, slurm: Slurm) -> str:
    """SLURM's number of the batch, now in the queue. Raises ``Refused``, ``QueueFull``, ``NoAnswer``,
    ``LauncherError``, ``OSError``."""
    script = batch.folder / "script.sh"
    script.write_text(batch_script(batch, title=title, profile=profile))
    answer = slurm.ask("sbatch", str(script))
    if not answer.ok:
        raise _complaint(answer.problem or "sbatch gives no reason")
    found = re.search(r"Submitted batch job (\d+)", answer.text)
    if found is None:
        raise NoAnswer(f"sbatch says {answer.text.strip()!r}")
    return found[1]


def rehearse(batch: Batch, *, title: str, profile: Profile, slurm: Slurm) -> str:
    """What ``sbatch`` says it would do with the batch, which it does not take. Raises as ``send`` does."""
    script = batch.folder / "rehearsal.sh"
    script.write_text(batch_script(batch, title=title, profile=profile))
    answer = slurm.ask("sbatch", "--test-only", str(script))
    if not answer.ok:
        raise _complaint(answer.problem or "sbatch gives no reason")
    return answer.problem


def _complaint(text: str) -> Exception:
    if any(words in text for words in _NO_ANSWER):
        return NoAnswer(text)
    if any(words in text for words in _LIMITS):
        return QueueFull(text)
    return Refused(text)


def batch_script(batch: Batch, *, title: str, profile: Profile) -> str:
    """Needs no SLURM, and not the batch's folder. Raises ``LauncherError`` for a path that SLURM cannot take."""
    if "%" in str(batch.folder):
        raise LauncherError(f"{batch.folder}: SLURM cannot write logs below a path with %; choose another store")
    resources = next(iter(batch.jobs.values())).resources
    removed = {name for name, value in profile.flags.items() if value is None}
    executor = _Writer(batch.folder, python=python_command(profile))
    executor.update_parameters(
        job_name=title,
        comment=_comment(batch),
        partition=profile.partition,
        account=profile.account,
        qos=profile.qos,
        time=resources.time or profile.time,
        mem=_memory(resources),
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=resources.cpus,
        wckey=None,
        stderr_to_stdout=True,
        array_parallelism=batch.size,
        additional_parameters={
            "output": batch.folder / ("0.out" if batch.size == 1 else "%a.out"),
            "requeue": True,
            **_gpus(resources, profile),
            **{name: value for name, value in profile.flags.items() if value is not None},
        },
        setup=[*_begin(batch), *profile.setup],
        use_srun=False,
        teardown=_end(),
    )
    if batch.size > 1:
        executor.parameters["map_count"] = batch.size
    text = executor._make_submission_file_text(_command(batch, resources, executor.python), batch.folder.name)
    kept = [line for line in text.splitlines() if _flag(line) not in removed]
    return "\n".join(kept) + "\n"


def python_command(profile: Profile) -> str:
    """What starts Python on a node, as a shell reads it."""
    return profile.python or shlex.quote(sys.executable)


class _Writer(SlurmExecutor):
    """Writes scripts, on machines without SLURM too."""

    @classmethod
    def affinity(cls) -> int:
        return 1  # what submitit says of a place where it can work


def _command(batch: Batch, resources: Resources, python: str) -> str:
    # A step of its own, because SLURM warns steps and not the script; the script's cores are not a step's by itself.
    step = f"srun --unbuffered --nodes=1 --ntasks=1 --cpus-per-task={resources.cpus}"
    return f"{step} {python} -u -m slurm.task {shlex.quote(str(batch.folder))}"


def _begin(batch: Batch) -> list[str]:
    return [
        "trap : TERM USR2  # for the job alone; the script waits for it",
        "task=${SLURM_ARRAY_TASK_ID:-0} restart=${SLURM_RESTART_COUNT:-0}",
        f"status={shlex.quote(str(batch.folder))}/$task.status",
        'note() { echo "$@" > "$status.$restart" && mv -f "$status.$restart" "$status"; }',
        "note begun $restart",
    ]


def _end() -> list[str]:
    return [
        "code=$?",
        "note ended $restart $code",
        f"[ $code = {EXIT_INTERRUPTED} ] && code=0  # some clusters queue such a job again by themselves",
        "exit $code",
    ]


def _comment(batch: Batch) -> str:
    names = [job.name for job in batch.jobs.values()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{batch.mark}: {', '.join(names[:3])}{more}"


def _gpus(resources: Resources, profile: Profile) -> dict[str, str | int]:
    if not resources.gpus:
        return {}
    kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
    if profile.gpu_request == "gres":
        return {"gres": f"gpu:{kind}{resources.gpus}"}
    return {"gpus-per-node": f"{kind}{resources.gpus}"}


def _memory(resources: Resources) -> str | None:
    """SLURM takes whole numbers alone."""
    if resources.memory is None:
        return None
    number, unit = float(resources.memory[:-1]), resources.memory[-1]
    return f"{ceil(number * {'K': 1 / 1024, 'M': 1, 'G': 1024, 'T': 1024**2}[unit])}M"


def _flag(line: str) -> str | None:
    found = re.match(r"#SBATCH --([a-z-]+)", line)
    return found[1] if found else None
