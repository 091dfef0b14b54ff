"""``ablate retry``: try trials of a submitted sweep again, with the program it was submitted with."""

from collections.abc import Sequence
from pathlib import Path

from ablations.attempts import AttemptsFile
from ablations.choice import chosen_trials
from ablations.errors import OK, TRIALS_FAILED, BadInput
from ablations.folder import sweep_folder
from ablations.labels import counted
from ablations.overview import read_overview
from ablations.stop_request import clear_stop
from ablations.store import Store, store_errors
from ablations.submit import advance_frozen
from ablations.turn import wait_for_sweep


def retry(sweep: str, trials: Sequence[str], *, failed: bool, store: Path, json_output: bool) -> int:
    """``trials``: keys or their beginnings, or ``ARM:SEED``, of failed or cancelled ones; none means every failed one,
    which ``failed`` says explicitly. Returns an exit code; raises ``AblationError``."""
    if failed and trials:
        raise BadInput(f"--failed means every failed trial; leave it out, or {', '.join(trials)}")
    folder = sweep_folder(sweep, store)
    found = read_overview(folder, store)
    if found.submission is None:
        raise BadInput(f"{folder.name} was not submitted to a cluster; `ablate run` tries failed trials again")
    if trials:
        chosen = chosen_trials(found, trials, states=("failed", "cancelled"))
    else:
        chosen = [trial for trial in found.trials if trial["state"] == "failed"]
    if not chosen:
        raise BadInput(
            f"no trial of {folder.name} has failed; those that diverged would diverge again, and cancelled ones "
            "must be named to be tried again"
        )
    stages = {trial["failure"]["stage"].partition("/")[2] for trial in chosen if trial["state"] == "failed"}

    with wait_for_sweep(Store(store), folder.name), store_errors(store):
        AttemptsFile(folder).forget(stages, jobs={f"trial-{trial['key']}" for trial in chosen})
        clear_stop(folder, [trial["key"] for trial in chosen])
    if not json_output:
        print(f"of {folder.name}, {counted(len(chosen), 'trial')} will be tried again")
    code = advance_frozen(folder, Path(found.submission["code"]), store=store, json_output=json_output).wait()
    return OK if code == TRIALS_FAILED and not json_output else code  # others have failed, as was known
