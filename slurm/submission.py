"""Hands batch scripts to ``sbatch``, and understands why it does not take them.

Submitit's own ``submit`` is not used, because of three things that it does. It starts its own process in the job, which
installs handlers for SIGTERM and SIGUSR2 and requeues by itself: a job of ours has exactly one owner of signals, and
where SLURM has requeued it already, a job that succeeds is reported as failed. It gives the job its work only after
sbatch has returned, so a kill in between leaves a job without work. And sbatch gets the environment of an outer job,
and the terminal's Ctrl-C.
"""

import re
from pathlib import Path

from slurm.commands import Slurm

_LIMITS = ("MaxJobCount", "job submit limit", "Resource temporarily unavailable")
"""Messages about a limit on the number of jobs. A limit of a QOS or an account is reported with its name in front."""
_NAMED_LIMIT = r"\b(?:QOS|Assoc)(?:Max|Grp)\w+"
_NO_ANSWER = (
    "Unable to contact slurm controller", "Socket timed out", "Connection refused", "no answer after",
    "temporarily unable to accept job", "Zero Bytes were transmitted", "Communication connection failure",
)  # fmt: skip
_NO_PLACE = "Requested node configuration is not available"


class Refused(Exception):
    """``sbatch`` refuses these jobs; in its own words."""


class NoPlace(Refused):
    """No node could run these jobs as things are: they ask for too much, or nodes are out of service."""


class QueueFull(Exception):
    """Apparently a limit on the number of jobs; in SLURM's own words."""


class NoAnswer(Exception):
    """It is not known whether the jobs are in the queue; in SLURM's own words."""


def send(text: str, script: Path, slurm: Slurm) -> str:
    """Submit ``text``, kept as ``script``, and return SLURM's number of it. Raises ``Refused``, ``QueueFull``,
    ``NoAnswer``, ``OSError``."""
    script.write_text(text)
    answer = slurm.ask("sbatch", str(script))
    if not answer.ok:
        raise _complaint(answer.problem or "sbatch gives no reason")
    found = re.search(r"Submitted batch job (\d+)", answer.text)
    if found is None:
        raise NoAnswer(f"sbatch says {answer.text.strip()!r}")
    return found[1]


def rehearse(text: str, script: Path, slurm: Slurm) -> str:
    """What ``sbatch`` says it would do with ``text``, without submitting it. Raises as ``send`` does."""
    script.write_text(text)
    answer = slurm.ask("sbatch", "--test-only", str(script))
    if not answer.ok:
        raise _complaint(answer.problem or "sbatch gives no reason")
    return answer.problem


def _complaint(text: str) -> Exception:
    if any(words in text for words in _NO_ANSWER):
        return NoAnswer(text)
    if named := re.findall(_NAMED_LIMIT, text):
        # At submission, all other limits are compared with what the job alone asks for: it would never fit.
        return QueueFull(text) if any("Submit" in one or "Jobs" in one for one in named) else Refused(text)
    if any(words in text for words in _LIMITS):
        return QueueFull(text)
    return NoPlace(text) if _NO_PLACE in text else Refused(text)
