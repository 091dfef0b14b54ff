"""The text of batch scripts: what a job asks for, and what it does. Needs no SLURM.

The script is submitit's, which knows sbatch's options and their spelling. What it runs is ours: a job has exactly one
owner of signals, says how it ended before SLURM does, and sees to what comes next as its last act.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import _make_sbatch_string

from slurm.batch import OUT_OF_MEMORY, Batch
from slurm.launcher import EXIT_INTERRUPTED, LauncherError, Resources
from slurm.profile import Controller, Flag, Profile

_TOGETHER = ['[ -e "$status.$restart.code" ] && code=$(cat "$status.$restart.code")  # srun mixes them all']
_SHORT = "^(slurmstepd|srun)[^:]*: error: .*(oom[-_ ]kill|Out Of Memory|xceeded .*memory limit)"
"""How SLURM says in a job's log that it ended processes for their memory. The job itself only sees a signal 9, and
SLURM's own verdict on the job comes after the script has ended."""
_FOLLOWER_TIME, _FOLLOWER_LOOK, _FOLLOWER_MEMORY = "0:15:00", "10m", "2G"
_FOLLOWER_PAUSE, _LONGEST_PAUSE = 6, 30
"""The pause before it looks again, in multiples of ``poll_seconds``; times the number of its looks, up to the second
number."""
_OF_THE_WORK = re.compile(
    r".*gpu.*|gres|mem|nodes|n?tasks.*|cpus.*|cores.*|sockets.*|threads.*|mincpus|exclusive|distribution|switches|signal"
)
"""Options about the size of a job, which do not apply to a small one."""


FOLLOWER, FOLLOWER_WHEN = "follower", "follower.when"
"""Files: SLURM's number of the small job that is wanted, and when it is to look next, as an argument of ``scontrol
update``."""
JUST_ENDED = "--just-ended"
"""Tells the command that is run afterwards that it is a job's last act, and not the small job's."""


@dataclass(frozen=True, kw_only=True)
class Afterwards:
    """The command that is run whenever a job has ended."""

    arguments: Sequence[str]
    """Arguments of Python, such as ``-m some.module``."""
    log: Path
    """The file that its output is appended to."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the jobs of a launcher have in common."""

    profile: Profile
    title: str
    """Their name in the queue."""
    code: Path | None = None
    """A folder of packages that goes before those that are installed."""
    afterwards: Afterwards | None = None


def batch_script(batch: Batch, site: Site, *, throttle: int | None = None) -> str:
    """The script of a batch. ``throttle``: most jobs of an array that run at a time. Raises ``LauncherError`` for a
    folder that SLURM cannot use."""
    if "%" in str(batch.folder):
        raise LauncherError(f"{batch.folder}: SLURM cannot write logs below a path with %; choose another store")
    resources, profile = next(iter(batch.jobs.values())).resources, site.profile
    flags = {
        "output": batch.folder / ("0.out" if batch.size == 1 else "%a.out"),
        **_gpus(resources, profile),
        **_given(profile),
        **_avoided(resources, profile),
    }
    parameters = {
        "job_name": site.title,
        "comment": _comment(batch),
        "time": resources.time or profile.time,
        "mem": _memory(resources),
        "nodes": resources.nodes,
        "ntasks_per_node": resources.processes_per_node,
        "cpus_per_task": resources.cpus,
        "array_parallelism": min(batch.size, throttle or batch.size),
        "map_count": batch.size if batch.size > 1 else None,
    }
    # A step of its own, because SLURM warns steps and not the script; a step does not get the script's cores by itself.
    step = (
        f"srun --unbuffered --nodes={resources.nodes} --ntasks={resources.processes} --cpus-per-task={resources.cpus}"
    )
    if resources.processes > 1:
        step += f" --ntasks-per-node={resources.processes_per_node} --kill-on-bad-exit=1"
    command = f"{step} {python_command(site.profile)} -u -m slurm.task {shlex.quote(str(batch.folder))}"
    end = ["code=$?", *(_TOGETHER if resources.processes > 1 else []), *_end(site)]
    return _script(site, parameters, flags, [*_begin(batch), *_setup(site)], command, end)


def follower_script(site: Site, afterwards: Afterwards, folder: Path) -> str:
    """The script of a small job that does what is to be done afterwards, and is queued again as long as its number is
    the one in ``folder``: to begin when a file there says, else after a pause that grows."""
    profile, number, when = site.profile, folder / FOLLOWER, folder / FOLLOWER_WHEN
    controller = profile.controller or Controller()
    parameters = {
        "job_name": f"{site.title}-next",
        "comment": "ablate: starts what comes next",
        "time": _FOLLOWER_TIME,
        "mem": _FOLLOWER_MEMORY,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": 1,
    }
    inherited = {name: one for name, one in profile.flags.items() if one is None or not _OF_THE_WORK.fullmatch(name)}
    small = replace(
        profile,
        partition=controller.partition or profile.partition,
        qos=controller.qos or profile.qos,
        flags={**inherited, **controller.flags},
    )
    pause = ceil(_FOLLOWER_PAUSE * profile.poll_seconds)
    flags = {"output": "/dev/null", "begin": f"now+{pause}", **_given(small)}
    setup = [f"exec >> {shlex.quote(str(afterwards.log))} 2>&1", f"rm -f {shlex.quote(str(when))}", *_setup(site)]
    again = [
        f'[ "$(cat {shlex.quote(str(number))} 2> /dev/null)" = $SLURM_JOB_ID ] || exit 0  # nothing is left to do',
        "trap '' TERM  # being queued again ends this script, which then says when it is to begin",
        "scontrol requeue $SLURM_JOB_ID || exit",
        "looks=$((1 + ${SLURM_RESTART_COUNT:-0}))",
        f"pause=$(({pause} * (looks < {_LONGEST_PAUSE} ? looks : {_LONGEST_PAUSE})))",
        f"scontrol update JobId=$SLURM_JOB_ID "
        f"$(cat {shlex.quote(str(when))} 2> /dev/null || echo StartTime=now+$pause)",
    ]
    command = f"timeout {_FOLLOWER_LOOK} {_call(site, afterwards)}"
    return _script(replace(site, profile=small), parameters, flags, setup, command, again)


def _script(
    site: Site,
    parameters: Mapping[str, Any],
    flags: Mapping[str, object],
    setup: Sequence[str],
    command: str,
    teardown: Sequence[str],
) -> str:
    """The text, made by submitit; ``flags`` are options that it does not know."""
    profile = site.profile
    text = _make_sbatch_string(
        command=command,
        folder=".",
        partition=profile.partition,
        account=profile.account,
        qos=profile.qos,
        wckey=None,  # type: ignore[arg-type]
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, **flags},
        setup=list(setup),
        use_srun=False,
        teardown=list(teardown),
        **parameters,
    )
    removed = {name for name, value in profile.flags.items() if value is None}
    kept = [line for line in text.splitlines() if _flag(line) not in removed]
    return "\n".join(kept) + "\n"


def python_command(profile: Profile) -> str:
    """What starts Python on a node, as a shell reads it."""
    return profile.python or shlex.quote(sys.executable)


def _call(site: Site, afterwards: Afterwards) -> str:
    return f"{python_command(site.profile)} {shlex.join(afterwards.arguments)}"


def _setup(site: Site) -> list[str]:
    code = shlex.quote(str(site.code))
    path = f"export PYTHONSAFEPATH=1 PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}}  # the code as it was at submission"
    return [*site.profile.setup, *([path] if site.code else [])]


def _begin(batch: Batch) -> list[str]:
    return [
        "trap : TERM USR2  # for the job alone; the script waits for it",
        "task=${SLURM_ARRAY_TASK_ID:-0} restart=${SLURM_RESTART_COUNT:-0}",
        f"status={shlex.quote(str(batch.folder))}/$task.status",
        'note() { echo "$@" $SECONDS > "$status.$restart" && mv -f "$status.$restart" "$status"; }',
        "log=/proc/$$/fd/1 before=$(stat -Lc %s /proc/$$/fd/1)  # what earlier runs wrote is not of this one",
        "note begun $restart $SLURMD_NODENAME",
    ]


def _end(site: Site) -> list[str]:
    after = site.afterwards
    return [
        f"short='{_SHORT}'",
        f'tail -c +$((before + 1)) $log | grep -qE "$short" && memory={OUT_OF_MEMORY}',
        "note ended $restart $code $SLURMD_NODENAME $memory",
        *([f"{_call(site, after)} {JUST_ENDED} >> {shlex.quote(str(after.log))} 2>&1"] if after else []),
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


def _given(profile: Profile) -> dict[str, Flag]:
    return {name: value for name, value in profile.flags.items() if value is not None}


def _avoided(resources: Resources, profile: Profile) -> dict[str, str]:
    nodes = [*([str(profile.flags["exclude"])] if profile.flags.get("exclude") else []), *resources.avoid]
    return {"exclude": ",".join(nodes)} if nodes else {}


def _memory(resources: Resources) -> str | None:
    """Memory as SLURM takes it: in whole numbers only."""
    if resources.memory is None:
        return None
    number, unit = float(resources.memory[:-1]), resources.memory[-1]
    return f"{ceil(number * {'K': 1 / 1024, 'M': 1, 'G': 1024, 'T': 1024**2}[unit])}M"


def _flag(line: str) -> str | None:
    found = re.match(r"#SBATCH --([a-z-]+)", line)
    return found[1] if found else None
