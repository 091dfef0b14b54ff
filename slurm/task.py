"""What a batch script starts on a node: ``python -m slurm.task FOLDER`` runs one job of a batch (see ``batch``).

Takes no signal for itself: the job's own handlers are the only ones. The exit code is the job's.
"""

import faulthandler
import json
import os
import sys
import traceback
from pathlib import Path

from slurm.batch import job_path
from slurm.launcher import EXIT_ERROR, EXIT_OK, THREAD_VARIABLES
from slurm.target import call


def main(folder: Path) -> int:
    """Run the job whose number SLURM tells."""
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    try:
        job = json.loads(job_path(folder, index).read_bytes())
    except FileNotFoundError:
        print(f"{job_path(folder, index)} is gone: whoever submitted this job has given it up")
        return EXIT_OK
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(job["resources"]["cpus"])))
    if not job["resources"]["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # some clusters let a job see what it has not asked for
    return call(job["target"], job["payload"])


if __name__ == "__main__":
    faulthandler.enable()
    code = EXIT_ERROR
    try:
        code = main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads that a library left behind do not keep the node
