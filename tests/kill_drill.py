"""Kill -9 at random moments of a sweep on this machine: of a job, or of ``ablate run`` itself.

``python tests/kill_drill.py --seed 1 [--kills 10] [--output table.md]`` runs the quickstart and kills at moments that
the seed decides, spread over its encoders, trainings and evaluations. Whenever ``ablate run`` is dead the same command
is given again. In the end the store is compared with that of the same sweep undisturbed. Prints what was killed; exits
with 1 where anything differs.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from store_contents import differences

from ablations.lease import holder
from mm1core import spool

ROOT = Path(__file__).parents[1]
SPREAD = {"encoder": 0.2, "pretrain": 0.5, "evaluate": 0.3}
"""Which part of the kills comes while a stage of a kind is worked on: else nearly all would hit the first ones, which
begin anew after each."""
MOST_SECONDS = {"encoder": 8.0, "pretrain": 15.0, "evaluate": 2.0}
"""From when such a stage is seen until the kill."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    after: float
    """Seconds since the first start."""
    victim: str
    at_work: tuple[str, ...]
    """What jobs were at, the victim's own alone where it is a job."""


class KillDrill:
    def __init__(self, sweep: Path, root: Path, *, seed: int) -> None:
        self.sweep = sweep
        self.store = root / "store"
        self.chance = random.Random(seed)
        self.kills: list[Kill] = []

    def run(self, kills: int) -> None:
        started = time.monotonic()
        process = start(self.sweep, self.store)
        for kind in self.kinds(kills):
            self.wait(process, kind)
            jobs = self.jobs()
            of_kind = sorted(name for name in jobs if name.startswith(kind))
            job = self.chance.choice(of_kind) if of_kind and self.chance.random() < 0.5 else None
            if job is None:
                process.kill()
                process.wait()
            else:
                with contextlib.suppress(ProcessLookupError):  # it was faster
                    os.kill(jobs[job], signal.SIGKILL)
            at_work = tuple(sorted(jobs)) if job is None else (job,)
            victim = "ablate run" if job is None else "a job"
            self.kills.append(Kill(after=time.monotonic() - started, victim=victim, at_work=at_work))
            print(f"{self.kills[-1].after:.0f} s: {victim} at {', '.join(at_work) or 'nothing'}", flush=True)
            if job is None:
                process = start(self.sweep, self.store)
        if process.wait() != 0:
            raise SystemExit(f"in the end the sweep stopped with exit code {process.returncode}")

    def kinds(self, kills: int) -> list[str]:
        """What is to be at work at each kill: the encoders first, since all else needs them."""
        every = [kind for kind, part in SPREAD.items() for _ in range(round(part * kills))]
        first = [kind for kind in every if kind == "encoder"]
        rest = [kind for kind in every if kind != "encoder"]
        self.chance.shuffle(rest)
        return first + rest

    def wait(self, process: subprocess.Popen[bytes], kind: str) -> None:
        """Until a stage of this kind is worked on, and some time longer."""
        while not any(name.startswith(kind) for name in self.jobs()):
            if process.poll() is not None:
                raise SystemExit(f"the sweep ended with exit code {process.returncode} after {len(self.kills)} kills")
            time.sleep(0.05)
        time.sleep(self.chance.uniform(0, MOST_SECONDS[kind]))

    def jobs(self) -> dict[str, int]:
        """Process by what it works on, with the step it has logged."""
        found = {}
        for kind in ("world", "encoder", "pretrain", "evaluate"):
            for folder in self.store.glob(f"{kind}/*/"):
                if (owner := holder(folder)) is not None:
                    lines = spool.read(folder / "work" / "spool.jsonl")
                    step = f" at step {lines[-1]['step']}" if lines else ""
                    found[f"{kind}/{folder.name}{step}"] = owner.pid
        return found

    def table(self) -> str:
        lines = ["| after | killed | at work |", "|---|---|---|"]
        for one in self.kills:
            lines.append(f"| {one.after:.0f} s | {one.victim} | {', '.join(one.at_work) or 'nothing'} |")
        return "\n".join(lines)


def start(sweep: Path, store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ablations", "run", str(sweep), "--store", str(store), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sweep", type=Path, default=ROOT / "sweeps" / "quickstart.yaml")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--output", type=Path, help="where to write the table")
    wanted = options.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kill-drill-"))
    drill = KillDrill(wanted.sweep, root, seed=wanted.seed)
    drill.run(wanted.kills)
    undisturbed = root / "undisturbed"
    if start(wanted.sweep, undisturbed).wait() != 0:
        raise SystemExit("the sweep does not run undisturbed")
    found = differences(drill.store, undisturbed)
    print(drill.table())
    if wanted.output is not None:
        wanted.output.write_text(drill.table() + "\n")
    for difference in found:
        print(difference, file=sys.stderr)
    if not found:
        shutil.rmtree(root)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
