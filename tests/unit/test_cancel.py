"""``ablate cancel``: what it asks, what it refuses, what it leaves for whoever carries the sweep on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tally import drill

from ablations import cancel as cancel_module
from ablations.cancel import cancel
from ablations.errors import BAD_INPUT, OK, STOPPED, BadInput
from ablations.lease import acquire
from ablations.plan import save_plan
from ablations.stop_request import cancelled_trials, stop_requested
from ablations.store import Store, write_json

PLAN = drill(arms=6, seeds=2)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With a sweep that this process holds, and eleven queued jobs of it that nobody ends."""
    monkeypatch.setattr(cancel_module, "_PATIENCE", 0.0)
    folder = Store(tmp_path).sweep("drill")
    folder.mkdir(parents=True)
    save_plan(PLAN, folder)
    queued = [{"name": f"trial-{trial.key}", "label": "", "stages": [], "started": 0.0} for trial in PLAN.trials[:11]]
    write_json(folder / "running.json", {"jobs": [], "queued": queued})
    lease = acquire(folder)
    yield tmp_path
    lease.release()


def test_above_ten_jobs_somebody_has_to_confirm(store, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    folder = store / "sweeps" / "drill"
    with pytest.raises(BadInput, match="11 jobs.*--yes"):
        cancel("drill", [], store=store, kill=False, yes=False, json_output=False)
    assert not stop_requested(folder)
    assert cancel("drill", [], store=store, kill=True, yes=True, json_output=False) == STOPPED  # they have not ended
    assert stop_requested(folder) == 2


def test_trials_are_named_as_elsewhere_and_the_others_go_on(store, capsys):
    folder = store / "sweeps" / "drill"
    words = [PLAN.trials[0].key[:8], "arm 5:1", PLAN.trials[0].key]
    assert cancel("drill", words, store=store, kill=False, yes=False, json_output=True) == OK
    document = json.loads(capsys.readouterr().out)
    assert (document["trials"], document["states"]["cancelled"], document["states"]["waiting"]) == (2, 2, 10)
    assert set(cancelled_trials(folder)) == {PLAN.trials[0].key, PLAN.trials[11].key}
    assert not stop_requested(folder)
    for word in ("arm 5", "arm 5:1", ""):  # none, cancelled already, all of them
        with pytest.raises(BadInput) as refused:
            cancel("drill", [word], store=store, kill=False, yes=False, json_output=False)
        assert refused.value.exit_code == BAD_INPUT
