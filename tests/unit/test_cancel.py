"""``ablate cancel``: what it asks, what it refuses, what it leaves for whoever carries the sweep on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from tally import drill

from ablations import cancel as cancel_module
from ablations.advance import Dispatcher
from ablations.attempts import AttemptsFile
from ablations.cancel import cancel
from ablations.conclude import say_end
from ablations.errors import BAD_INPUT, OK, STOPPED, BadInput
from ablations.lease import acquire
from ablations.plan import save_plan
from ablations.snapshot import STATES, Status
from ablations.stop_request import cancelled_trials, request_stop, stop_requested
from ablations.store import Store, write_json
from slurm.cluster import ClusterLauncher
from slurm.launcher import Resources
from slurm.profile import Profile
from slurm.script import Site

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
    with pytest.raises(BadInput, match=r"11 jobs; --yes"):
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


def test_a_submitted_sweep_has_a_cancelled_trial_taken_out_of_slurms_queue(tmp_path):
    """A look, as every process that carries the sweep on takes it."""
    planned = drill(arms=1, seeds=1)
    store = Store(tmp_path)
    waits = "7|PENDING|0||Priority|ablate/MARK: x|\n"
    slurm = FakeSlurm(sbatch="Submitted batch job 7\n", squeue=waits)

    def look() -> Dispatcher:
        launcher = ClusterLauncher(
            Site(profile=Profile(poll_seconds=0.0), title="drill"), folder=tmp_path / "cluster", slurm=slurm
        )
        return Dispatcher(
            planned, store=store, launcher=launcher, resources=Resources(), provenance=dict, continuing=True
        )

    assert look().advance().queued == 1
    assert not slurm.asked.count("scancel")
    request_stop(store.sweep("drill"), kill=False, trial=planned.trials[0].key)
    second = look()
    second.advance()
    assert slurm.asked.count("scancel")
    slurm.say(squeue=waits.replace("PENDING", "CANCELLED"))
    assert second.advance().counts["cancelled"] == 1
    assert second.finished
    assert slurm.asked.count("sbatch") == 1
    assert [(one.job, one.outcome) for one in AttemptsFile(store.sweep("drill")).read()] == [
        (f"trial-{planned.trials[0].key}", "cancelled")
    ]


def test_a_sweep_of_which_only_cancelled_trials_are_left_ends_as_a_stopped_one(tmp_path, capsys):
    counts = {**dict.fromkeys(STATES, 0), "done": 3, "cancelled": 1}
    status = Status(name="drill", counts=counts, running=())
    code = say_end({}, status, tmp_path, store=tmp_path, tracking_uri=None, json_output=True, tracked=True)
    assert code == STOPPED
    assert json.loads(capsys.readouterr().out)["stopped"]
