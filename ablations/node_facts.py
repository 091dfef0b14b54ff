"""What a job of ``ablate doctor`` finds on a node. It judges nothing: ``node_checks`` does, on the side that asked.

Libraries are imported only where they are tried, so that a broken one is a fact like any other.
"""

import importlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from platform import python_version
from typing import Any

from ablations.provenance import PACKAGES, package_version
from ablations.store import write_json
from slurm.commands import Slurm
from slurm.machine import gpus

TARGET = "ablations.node_facts:run"
TOKEN = "token"
FACTS = "facts.json"
_MODULES = {"lightning": "lightning.pytorch", "pillow": "PIL", "mm-ablations": "ablations"}
"""Packages that are imported by another name than their own."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    node: str
    began: float
    """By the node's clock, like ``written``."""
    written: float
    token: str
    """What the job read in the store; empty if it could not."""
    python: str
    packages: Mapping[str, str]
    """Version by name."""
    broken: Mapping[str, str]
    """Why a package cannot be imported, by name."""
    source: str
    """Digest of this program's modules."""
    place: str
    """Where those modules are."""
    gpus: tuple[str, ...]
    """As SLURM names them to the job."""
    torch_gpus: int
    slurm: str
    """Why the node cannot submit a job or read the queue; empty if it can do both."""
    free_bytes: int
    """Free space in the store."""
    scratch: str
    """Why nothing can be written into the folder for temporary files; empty if it can."""


def run(payload: dict[str, Any]) -> None:
    """Collect the facts, and write them beside the token. Of a job's processes, one for each GPU, only the first
    does."""
    if os.environ.get("RANK", "0") != "0":
        return
    folder = Path(payload["folder"])
    began = time.time()
    broken = {name: problem for name in PACKAGES if (problem := _import_problem(_MODULES.get(name, name)))}
    facts = Facts(
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        began=began,
        token=_read(folder / TOKEN),
        python=python_version(),
        packages={name: package_version(name) for name in PACKAGES},
        broken=broken,
        source=source_digest(),
        place=str(Path(__file__).parents[1]),
        gpus=gpus(),
        torch_gpus=0 if "torch" in broken else importlib.import_module("torch").cuda.device_count(),
        slurm=_slurm_problem(next(folder.glob("*/script.sh"))),
        free_bytes=shutil.disk_usage(folder).free,
        scratch=_scratch_problem(),
        written=time.time(),
    )
    write_json(folder / FACTS, asdict(facts))


def source_digest() -> str:
    """A text that is the same for equal modules, wherever they are."""
    root = Path(__file__).parents[1]
    digest = sha256()
    for floor in ("ablations", "mm1core", "reports", "slurm"):
        for file in sorted((root / floor).rglob("*.py")):
            digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _import_problem(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _slurm_problem(script: Path) -> str:
    """``script`` is the batch script that this job was sent with."""
    slurm = Slurm()
    for question in (("squeue", "--me", "--noheader"), ("sbatch", "--test-only", str(script))):
        answer = slurm.ask(*question)
        if not answer.ok:
            return answer.problem or f"{question[0]} gives no reason"
    return ""


def _scratch_problem() -> str:
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
    except OSError as error:
        return str(error)
    return ""
