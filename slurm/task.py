"""What a batch script starts on a node: ``python -m slurm.task FOLDER`` runs one job of a batch (see ``batch``).

Handles no signals itself: the job's own handlers are the only ones. The exit code is the job's.
"""

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from slurm.batch import job_path
from slurm.launcher import EXIT_ERROR, EXIT_OK, THREAD_VARIABLES
from slurm.target import call

_FIRST_PORT, _PORTS = 20_000, 12_000
"""Below the ports that the kernel hands out."""


def main(folder: Path) -> int:
    """Run the job whose index SLURM gives."""
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    try:
        job = json.loads(job_path(folder, index).read_bytes())
    except FileNotFoundError:
        print(f"{job_path(folder, index)} is gone: whoever submitted this job has given it up")
        return EXIT_OK
    os.environ.update(rank_variables(os.environ))
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(job["resources"]["cpus"])))
    if not job["resources"]["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # some clusters let a job see what it has not asked for
    return call(job["target"], job["payload"])


def rank_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Which of a step's processes this is and where they meet, in torchrun's variables; nothing for a single
    process."""
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return {}
    # Another port each time: the previous one may still be in use.
    number = int(environment["SLURM_JOB_ID"]) + 7919 * int(environment.get("SLURM_RESTART_COUNT", "0"))
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_ADDR": environment["SLURM_LAUNCH_NODE_IPADDR"],  # of the first node, where the script runs
        "MASTER_PORT": str(_FIRST_PORT + number % _PORTS),
    }


def note_code(folder: Path, code: int) -> None:
    """Note the exit code of the first of several processes as the job's: the others may be ended because of it."""
    if os.environ.get("RANK") == "0":
        index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
        restart = os.environ.get("SLURM_RESTART_COUNT", "0")
        (folder / f"{index}.status.{restart}.code").write_text(str(code))


if __name__ == "__main__":
    faulthandler.enable()
    code = EXIT_ERROR
    try:
        code = main(Path(sys.argv[1]))
        note_code(Path(sys.argv[1]), code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads that a library left behind do not keep the node
