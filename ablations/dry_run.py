"""``ablate submit --dry-run``: the batch scripts that would go to the cluster first. Needs no SLURM, sends nothing."""

import json
from collections.abc import Sequence
from pathlib import Path

from ablations.data_files import RememberedDigests
from ablations.errors import OK
from ablations.first_script import controller_script, first_scripts
from ablations.history import finished_keys
from ablations.plan import Job, jobs, make_plan
from ablations.profile_file import find_profile
from ablations.sweep import Search
from ablations.sweep_file import read_sweep


def show_scripts(sweep_path: Path, *, store: Path, profile: str, workers: int | None, json_output: bool) -> int:
    """Print the scripts. Returns an exit code; raises ``AblationError``."""
    cluster = find_profile(profile)
    digests = RememberedDigests(store)
    sweep = read_sweep(sweep_path, digest_of=digests)
    most = min(cluster.max_jobs, workers or cluster.max_jobs)
    left: Sequence[Job] = ()
    if not isinstance(sweep.design, Search):
        plan = make_plan(sweep)
        finished = finished_keys(store, plan.stages().values())
        left = jobs(plan.trials, lambda stage: stage.key in finished)
    scripts = first_scripts(sweep, left, cluster, store=store, most=most)
    small = controller_script(sweep, cluster, store=store) if left or isinstance(sweep.design, Search) else None
    if json_output:
        print(json.dumps({"name": sweep.name, "scripts": scripts, "controller": small}))
        return OK
    if small is not None:
        print(f"# The small job that looks after the others:\n\n{small}")
    for number, script in enumerate(scripts, 1):
        print(f"# Script {number} of {len(scripts)} for the jobs that can start:\n\n{script}")
    if not scripts:
        print("# The arms of a search are not known yet." if small else "# Nothing is left to run.")
    return OK
