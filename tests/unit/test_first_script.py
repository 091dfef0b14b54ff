"""The batch script that a plan shows: the one that would be sent first, made without SLURM and without writing."""

import json
import os
import re
import sys
from functools import partial
from pathlib import Path

import pytest
from sweep_files import write

from ablations import cli
from ablations.first_script import first_scripts
from ablations.plan import jobs, make_plan
from ablations.preview import make_preview
from ablations.sweep_file import read_sweep
from slurm.profile import Profile

SWEEP = """
name: connector
axes: {connector.kind: [average_pool, c_abstractor]}
seeds: [0, 1]
resources: {gpus: 1, cpus: 8, memory: 64G}
"""
GOLDEN = """\
#!/bin/bash

# Parameters
#SBATCH --account=vision
#SBATCH --comment='ablate/BATCH: world-KEY'
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=a100:1
#SBATCH --job-name=connector
#SBATCH --mem=65536M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=STORE/sweeps/connector/cluster/BATCH/0.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=4:00:00

# setup
trap : TERM USR2  # for the job alone; the script waits for it
task=${SLURM_ARRAY_TASK_ID:-0} restart=${SLURM_RESTART_COUNT:-0}
status=STORE/sweeps/connector/cluster/BATCH/$task.status
note() { echo "$@" $SECONDS > "$status.$restart" && mv -f "$status.$restart" "$status"; }
log=/proc/$$/fd/1 before=$(stat -Lc %s /proc/$$/fd/1)  # what earlier runs wrote is not of this one
note begun $restart $SLURMD_NODENAME
module load cuda
export PYTHONSAFEPATH=1 PYTHONPATH=STORE/code/CODE${PYTHONPATH:+:$PYTHONPATH}  # the code as it was at submission

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --nodes=1 --ntasks=1 --cpus-per-task=8 python3 -u -m slurm.task STORE/sweeps/connector/cluster/BATCH


# teardown
code=$?
short='^(slurmstepd|srun)[^:]*: error: .*(oom[-_ ]kill|Out Of Memory|xceeded .*memory limit)'
tail -c +$((before + 1)) $log | grep -qE "$short" && memory=out-of-memory
note ended $restart $code $SLURMD_NODENAME $memory
python3 -m ablations advance connector --store STORE --just-ended >> STORE/sweeps/connector/advance.log 2>&1
[ $code = 75 ] && code=0  # some clusters queue such a job again by themselves
exit $code
"""
PROFILE = """
partition: gpu
account: vision
gpu_type: a100
time: "4:00:00"
setup: [module load cuda]
python: python3
max_jobs: 3
"""


@pytest.fixture
def ablate(tmp_path, monkeypatch, capsys):
    """What a command prints where there are no commands of SLURM."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "ours.yaml").write_text(PROFILE)

    def call(verb: str, file: Path, *options: str) -> str:
        arguments = [verb, str(file), "--store", str(tmp_path / "store"), *options]
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    return call


@pytest.fixture
def plan(ablate):
    return partial(ablate, "plan")


def plain(text: str, store: Path) -> str:
    return re.sub(r"code/\w+", "code/CODE", re.sub(r"world-\w+", "world-KEY", text.replace(str(store), "STORE")))


def test_the_script_is_printed_after_the_plan_and_nothing_is_written(plan, tmp_path):
    file = write(tmp_path, SWEEP)
    before = sorted(os.listdir(tmp_path))
    shown = plan(file, "--profile", str(tmp_path / "ours.yaml"))
    assert "7 jobs" in shown
    assert "with 3 in parallel" in shown
    assert plain(shown, tmp_path / "store").endswith(GOLDEN)
    found = json.loads(plan(file, "--json", "--profile", str(tmp_path / "ours.yaml")))
    assert plain(found["script"], tmp_path / "store") == GOLDEN
    assert json.loads(plan(file, "--json"))["script"] is None
    assert sorted(os.listdir(tmp_path)) == before


def test_jobs_that_can_start_together_are_an_array_as_long_as_the_profile_allows(tmp_path):
    planned = make_plan(read_sweep(write(tmp_path, SWEEP)))
    left = jobs(planned.trials, lambda stage: stage.kind in ("world", "encoder"))
    for stage in {stage.key: stage for trial in planned.trials for stage in trial.stages[:2]}.values():
        record = {"kind": stage.kind, "key": stage.key, "result": {}, "provenance": {"seconds": 1.0}}
        (tmp_path / stage.kind / stage.key).mkdir(parents=True)
        (tmp_path / stage.kind / stage.key / "record.json").write_text(json.dumps(record))
    script = make_preview(planned, store=tmp_path, profile=Profile(max_jobs=3)).script
    assert len(left) == 4
    assert "#SBATCH --array=0-2%3\n" in script
    scripts = first_scripts(planned.sweep, left, Profile(array_cap=3, throttle=2), store=tmp_path, most=100)
    assert re.findall("--array=(.*)", "".join(scripts)) == ["0-2%1"]
    assert len(scripts) == 2


def test_a_search_has_no_script_yet(tmp_path, plan):
    file = write(tmp_path, "name: a\naxes: {decoder.layers: {low: 1, high: 4}}\ndesign: {kind: search, arms: 9}\n")
    assert json.loads(plan(file, "--json", "--profile", "devcluster"))["script"] is None


def test_a_dry_run_prints_every_script_that_would_be_sent_first_and_writes_nothing(ablate, tmp_path):
    file = write(tmp_path, SWEEP)
    before = sorted(os.listdir(tmp_path))
    options = ("--profile", str(tmp_path / "ours.yaml"), "--dry-run")
    found = json.loads(ablate("submit", file, "--json", *options))
    assert all(script in ablate("submit", file, *options) for script in [*found["scripts"], found["controller"]])
    assert sorted(os.listdir(tmp_path)) == before
    assert "#SBATCH --job-name=connector-next\n" in found["controller"]
    (tmp_path / "ours.yaml").write_text(PROFILE + "controller: false\n")
    assert json.loads(ablate("submit", file, "--json", *options))["controller"] is None
