"""A training as tracking sees it: appends to a spool, point by point, and may be cut back once as by a resume.

python tests/spool_writer.py SPOOL STEPS [CUT_AT CUT_TO]
"""

import sys
import time
from pathlib import Path

from tracked_folder import metrics

from mm1core import spool


def main(path: Path, steps: int, cut_at: int = 0, cut_to: int = 0) -> None:
    step = 0
    while step < steps:
        step += 1
        spool.append(path, step, metrics(path, "pretrain", step))
        time.sleep(0.05)
        if step == cut_at:
            spool.trim(path, cut_to)
            step, cut_at = cut_to, 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
