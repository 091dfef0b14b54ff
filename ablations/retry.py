"""``ablate retry``: try failed trials of a submitted sweep again, with the program it was submitted with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablations.attempts import AttemptsFile
from ablations.errors import OK, TRIALS_FAILED, BadInput
from ablations.folder import sweep_folder
from ablations.overview import Overview, read_overview
from ablations.stop_request import clear_stop
from ablations.store import Store, store_errors
from ablations.submit import advance_frozen
from ablations.turn import wait_for_sweep


def retry(sweep: str, trials: Sequence[str], *, store: Path, json_output: bool) -> int:
    """``trials``: keys or their beginnings, or ``ARM:SEED``; none means every failed one. Returns an exit code; raises
    ``AblationError``."""
    folder = sweep_folder(sweep, store)
    found = read_overview(folder, store)
    if found.submission is None:
        raise BadInput(f"{folder.name} was not submitted to a cluster; `ablate run` tries failed trials again")
    chosen = _chosen(found, trials)
    stages = {trial["failure"]["stage"].partition("/")[2] for trial in chosen}

    with wait_for_sweep(Store(store), folder.name), store_errors(store):
        AttemptsFile(folder).forget(stages, jobs={f"trial-{trial['key']}" for trial in chosen})
        clear_stop(folder)
    if not json_output:
        print(f"{len(chosen)} trials of {folder.name} are tried again")
    code = advance_frozen(folder, Path(found.submission["code"]), store=store, json_output=json_output).wait()
    return OK if code == TRIALS_FAILED and not json_output else code  # others have failed, as was known


def _chosen(found: Overview, wanted: Sequence[str]) -> list[Mapping[str, Any]]:
    failed = [trial for trial in found.trials if trial["state"] == "failed"]
    if not failed:
        raise BadInput(f"no trial of {found.status.name} has failed; those that diverged would diverge again")
    names = {trial["key"]: f"{found.labels[trial['arm']]}:{trial['seed']}" for trial in failed}
    fitting = {
        word: [trial for trial in failed if trial["key"].startswith(word) or names[trial["key"]] == word]
        for word in wanted
    }
    for word, trials in fitting.items():
        if len(trials) != 1:
            there = ", ".join(f"{key} ({name})" for key, name in list(names.items())[:10])
            raise BadInput(f"{word}: {'no' if not trials else 'more than one'} failed trial is that; failed: {there}")
    return [trial for trials in fitting.values() for trial in trials] or failed
