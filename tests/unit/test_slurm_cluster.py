"""The cluster's launcher and its batch scripts, with a SLURM that says what it is told to."""

import re
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, no

from slurm import cluster as cluster_module
from slurm.batch import load_batches, write_batch
from slurm.cluster import ClusterLauncher
from slurm.commands import clean
from slurm.launcher import Job, JobState, LauncherError, Resources
from slurm.profile import Profile
from slurm.script import Afterwards, Site, batch_script, follower_script
from slurm.task import rank_variables

SENT = "Submitted batch job 7\n"
FULL = no("sbatch: error: QOSMaxSubmitJobPerUserLimit")
SILENT = no("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")


def job(folder: Path, name: str = "a", **resources: object) -> Job:
    return Job(name=name, target="m:f", payload={}, log=folder / f"{name}.log", resources=Resources(**resources))  # type: ignore[arg-type]


def script(folder: Path, profile: Profile, count: int = 1, **resources: object) -> str:
    batch = write_batch(folder / "cluster", [job(folder, f"trial-{i}", **resources) for i in range(count)])
    text = batch_script(batch, Site(profile=profile, title="connector"))
    return text.replace(str(batch.folder), "FOLDER").replace(batch.folder.name, "MARK")


GOLDEN = """\
#!/bin/bash

# Parameters
#SBATCH --account=vision
#SBATCH --array=0-3%4
#SBATCH --comment='ablate/MARK: trial-0, trial-1, trial-2 and 1 more'
#SBATCH --cpus-per-task=8
#SBATCH --exclude='n[3-5]'
#SBATCH --exclusive
#SBATCH --gpus-per-node=a100:1
#SBATCH --job-name=connector
#SBATCH --mem=65536M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/%a.out
#SBATCH --partition=gpu
#SBATCH --qos=low
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=4:00:00

# setup
trap : TERM USR2  # for the job alone; the script waits for it
task=${SLURM_ARRAY_TASK_ID:-0} restart=${SLURM_RESTART_COUNT:-0}
status=FOLDER/$task.status
note() { echo "$@" > "$status.$restart" && mv -f "$status.$restart" "$status"; }
note begun $restart $SLURMD_NODENAME
module load cuda

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --nodes=1 --ntasks=1 --cpus-per-task=8 apptainer exec x.sif python -u -m slurm.task FOLDER


# teardown
code=$?
note ended $restart $code $SLURMD_NODENAME
[ $code = 75 ] && code=0  # some clusters queue such a job again by themselves
exit $code
"""


def test_the_batch_script_of_an_array_needs_no_slurm_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    profile = Profile(
        partition="gpu",
        account="vision",
        qos="low",
        gpu_type="a100",
        time="1:00:00",
        setup=("module load cuda",),
        flags={"exclude": "n[3-5]", "exclusive": True},
        python="apptainer exec x.sif python",
    )
    assert script(tmp_path, profile, 4, cpus=8, gpus=1, memory="64G", time="4:00:00") == GOLDEN


AFTERWARDS = Afterwards(arguments=("-m", "some.module", "a b"), log=Path("/store/advance.log"))


def test_jobs_of_a_submitted_sweep_run_its_code_and_end_with_a_look_at_what_comes_next(tmp_path):
    batch = write_batch(tmp_path / "cluster", [job(tmp_path)])
    site = Site(
        profile=Profile(python="py", setup=("module load x",)),
        title="x",
        code=Path("/store/code/1"),
        afterwards=AFTERWARDS,
    )
    lines = batch_script(batch, site).splitlines()
    path = "export PYTHONSAFEPATH=1 PYTHONPATH=/store/code/1${PYTHONPATH:+:$PYTHONPATH}"
    paths = [index for index, line in enumerate(lines) if line.startswith(path)]
    assert lines.index("module load x") < paths[0]
    step = next(index for index, line in enumerate(lines) if line.startswith("srun"))
    last = lines.index("py -m some.module 'a b' >> /store/advance.log 2>&1")
    ended = lines.index("note ended $restart $code $SLURMD_NODENAME")
    assert paths[0] < step < ended < last < lines.index("exit $code")


def test_nodes_that_failed_are_excluded_besides_those_of_the_profile(tmp_path):
    lines = script(tmp_path, Profile(flags={"exclude": "n[3-5]"}), avoid=("n7", "n9")).splitlines()
    assert "#SBATCH --exclude='n[3-5],n7,n9'" in lines
    assert not any("exclude" in line for line in script(tmp_path, Profile()).splitlines())


def test_a_job_of_several_processes_is_a_step_with_a_task_for_each_gpu(tmp_path):
    lines = script(tmp_path, Profile(python="py"), gpus=2, nodes=3, cpus=4).splitlines()
    assert {"#SBATCH --nodes=3", "#SBATCH --ntasks-per-node=2", "#SBATCH --gpus-per-node=2"} <= set(lines)
    step = "srun --unbuffered --nodes=3 --ntasks=6 --cpus-per-task=4 --ntasks-per-node=2 --kill-on-bad-exit=1"
    place = lines.index(f"{step} py -u -m slurm.task FOLDER")
    first_process = '[ -e "$status.$restart.code" ] && code=$(cat "$status.$restart.code")'
    assert lines[place + 4].startswith("code=$?")
    assert lines[place + 5].startswith(first_process)
    assert lines[place + 6] == "note ended $restart $code $SLURMD_NODENAME"


def test_each_process_of_a_step_is_told_which_one_it_is_and_where_they_meet():
    step = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
        "SLURM_JOB_ID": "77",
    }
    found = rank_variables(step)
    assert found == {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "10.0.0.7",
        "MASTER_PORT": "20077",
    }
    again = rank_variables({**step, "SLURM_RESTART_COUNT": "1"})
    assert again["MASTER_PORT"] != found["MASTER_PORT"]
    assert rank_variables({**step, "SLURM_STEP_NUM_TASKS": "1"}) == {}


FOLLOWER = """\
#!/bin/bash

# Parameters
#SBATCH --account=vision
#SBATCH --comment='ablate: starts what comes next'
#SBATCH --cpus-per-task=1
#SBATCH --dependency=afterany:7:12
#SBATCH --job-name=x-next
#SBATCH --mem=2G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/store/advance.log
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=0:15:00

# setup

# command
export SUBMITIT_EXECUTOR=slurm
py -m some.module 'a b'


# teardown
"""


def test_the_job_that_looks_after_the_others(tmp_path):
    site = Site(profile=Profile(partition="gpu", account="vision", python="py"), title="x", afterwards=AFTERWARDS)
    assert follower_script(["7", "12"], AFTERWARDS, site) == FOLLOWER


def test_it_is_sent_once_for_the_jobs_that_are_there(tmp_path):
    slurm = FakeSlurm(sbatch=[SENT, "Submitted batch job 8\n", "Submitted batch job 9\n"], squeue=row("7", "RUNNING"))
    launcher = launch(tmp_path, slurm, "a", afterwards=AFTERWARDS)
    launcher.jobs()
    assert launcher.follow_up() == ""
    assert "afterany:7" in (tmp_path / "cluster" / "follower.sh").read_text()
    for state, sent in (("PENDING", 2), ("RUNNING", 3)):  # one that runs has looked already, as far as anybody knows
        slurm.say(squeue=row("7", "RUNNING") + row("8", state))
        heir = launch(tmp_path, slurm, afterwards=AFTERWARDS)
        heir.jobs()
        heir.follow_up()
        assert slurm.asked.count("sbatch") == sent


def test_without_jobs_nobody_has_to_look(tmp_path):
    slurm = FakeSlurm()
    assert launch(tmp_path, slurm, afterwards=AFTERWARDS).follow_up() == ""
    assert slurm.asked == []


def test_a_flag_can_be_taken_away_or_changed_and_gpus_asked_for_as_gres(tmp_path):
    profile = Profile(time="1:00:00", gpu_request="gres", flags={"nodes": None, "signal": "USR2@300"})
    flags = re.findall(r"#SBATCH (.*)", script(tmp_path, profile, gpus=1))
    assert "--nodes=1" not in flags
    assert {"--gres=gpu:1", "--signal=USR2@300", "--time=1:00:00", "--output=FOLDER/0.out"} <= set(flags)
    assert not any(flag.startswith(("--array", "--mem", "--wckey")) for flag in flags)


def test_a_path_that_slurm_would_misread_is_refused(tmp_path):
    with pytest.raises(LauncherError, match="another store"):
        script(tmp_path / "100%", Profile())


def test_variables_of_an_outer_job_stay_outside():
    environment = {"SLURM_JOB_ID": "1", "SBATCH_QOS": "x", "SLURM_CONF": "c", "PATH": "p", "LOCAL_RANK": "0"}
    assert clean(environment) == {"SLURM_CONF": "c", "PATH": "p"}


def launch(folder: Path, slurm: FakeSlurm, *names: str, afterwards: Afterwards | None = None) -> ClusterLauncher:
    site = Site(profile=Profile(poll_seconds=0.0), title="connector", afterwards=afterwards)
    launcher = ClusterLauncher(site, folder=folder / "cluster", slurm=slurm)
    for name in names:
        launcher.submit(job(folder, name))
    return launcher


def row(number: str, state: str, comment: str = "") -> str:
    return f"{number}|{state}|0|0|None|{comment}|\n"


def test_a_refusal_is_the_jobs_problem_in_the_schedulers_words(tmp_path):
    words = "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"
    launcher = launch(tmp_path, FakeSlurm(sbatch=no(words)), "a", "b")
    assert {(one.state, one.problem) for one in launcher.jobs().values()} == {(JobState.FAILED, words)}
    assert load_batches(tmp_path / "cluster") == []


def test_a_limit_with_nothing_in_the_queue_is_a_refusal(tmp_path):
    launcher = launch(tmp_path, FakeSlurm(sbatch=FULL), "a")
    assert launcher.jobs()["a"].state == JobState.QUEUED  # somebody else may fill the queue
    assert launcher.jobs()["a"].state == JobState.FAILED


def test_a_limit_that_other_jobs_of_the_user_reach_is_waited_for(tmp_path):
    slurm = FakeSlurm(sbatch=[FULL, FULL, SENT], squeue=[row("3", "RUNNING"), row("3", "RUNNING"), row("7", "PENDING")])
    launcher = launch(tmp_path, slurm, "a")
    assert [launcher.jobs()["a"].state for _ in range(4)] == [JobState.QUEUED] * 4
    assert slurm.asked.count("sbatch") == 3
    assert (next((tmp_path / "cluster").glob("*/id"))).read_text() == "7"


@pytest.mark.parametrize("arrived", [True, False])
def test_when_sbatch_gives_no_answer_the_queue_tells_whether_the_job_is_there(tmp_path, arrived):
    slurm = FakeSlurm(sbatch=[no("sbatch: error: Socket timed out on send/recv operation"), "Submitted batch job 8\n"])
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    ((batch, number),) = load_batches(tmp_path / "cluster")
    assert number is None
    slurm._answers["squeue"] = row("7", "RUNNING", f"{batch.mark}: a") if arrived else row("3", "RUNNING", "other")
    for _ in range(4):
        launcher.jobs()
    assert slurm.asked.count("sbatch") == (1 if arrived else 2)
    ((_, number),) = load_batches(tmp_path / "cluster")
    assert number == ("7" if arrived else "8")


def test_a_job_that_slurm_does_not_know_any_more_is_lost(tmp_path):
    slurm = FakeSlurm(sbatch=SENT, squeue=[row("7", "RUNNING"), ""])
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    assert launcher.jobs()["a"].state == JobState.RUNNING
    assert launcher.jobs()["a"].state == JobState.RUNNING  # once may be a mistake
    assert launcher.jobs()["a"].state == JobState.LOST
    launcher.forget("a")
    assert load_batches(tmp_path / "cluster") == []


def test_its_last_word_counts_where_slurm_has_forgotten_it(tmp_path):
    slurm = FakeSlurm(sbatch=SENT, squeue=[row("7", "RUNNING"), ""])
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    ((batch, _),) = load_batches(tmp_path / "cluster")
    (batch.folder / "0.status").write_text("ended 2 0\n")
    for _ in range(3):
        launcher.jobs()
    assert launcher.jobs()["a"].state == JobState.SUCCEEDED


def test_a_controller_that_is_away_is_waited_for_and_in_the_end_reported(tmp_path, monkeypatch):
    slurm = FakeSlurm(sbatch=SENT, squeue=[SILENT, row("7", "RUNNING"), SILENT])
    launcher = launch(tmp_path, slurm, "a")
    assert [launcher.jobs()["a"].state for _ in range(4)] == [
        JobState.QUEUED, JobState.QUEUED, JobState.RUNNING, JobState.RUNNING,
    ]  # fmt: skip
    monkeypatch.setattr(cluster_module, "_SILENCE", 0.0)
    with pytest.raises(LauncherError, match="Unable to contact"):
        launcher.jobs()
    slurm._answers["scancel"] = SILENT
    launcher.close()
    assert launch(tmp_path, FakeSlurm(squeue=row("7", "RUNNING"))).inherited().keys() == {"a"}


def test_a_new_launcher_needs_slurm_only_if_jobs_may_be_left(tmp_path):
    assert launch(tmp_path, FakeSlurm(squeue=SILENT)).jobs() == {}
    launch(tmp_path, FakeSlurm(sbatch=SENT), "a").jobs()
    unlucky = launch(tmp_path, FakeSlurm(squeue=SILENT))
    with pytest.raises(LauncherError, match="does not answer"):
        unlucky.inherited()
    unlucky.close()
    assert launch(tmp_path, FakeSlurm(squeue=row("7", "RUNNING"))).inherited().keys() == {"a"}


def test_what_a_killed_launcher_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / "cluster" / "half").mkdir(parents=True)
    (tmp_path / "cluster" / "half" / "0.json").write_text("{")
    (tmp_path / "cluster" / "half" / "size").write_text("1")
    assert launch(tmp_path, FakeSlurm()).inherited() == {}
    assert list((tmp_path / "cluster").iterdir()) == []


def test_a_job_is_over_when_its_script_has_said_so_although_slurm_calls_it_running(tmp_path):
    """The script sees to what comes next as its last act, and what looks then is to know."""
    slurm = FakeSlurm(sbatch=SENT, squeue=row("7", "RUNNING"))
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    ((batch, _),) = load_batches(tmp_path / "cluster")
    (batch.folder / "0.status").write_text("begun 0 n1\n")
    assert launcher.jobs()["a"].state == JobState.RUNNING
    (batch.folder / "0.status").write_text("ended 0 137 n1\n")
    status = launcher.jobs()["a"]
    assert (status.state, status.signal) == (JobState.KILLED, 9)


def test_a_job_that_slurm_holds_after_a_failed_launch_is_taken_out_of_the_queue(tmp_path):
    held = row("7", "PENDING").replace("None", "launch failed requeued held")
    slurm = FakeSlurm(sbatch=SENT, squeue=[row("7", "PENDING"), held])
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    assert launcher.jobs()["a"].state == JobState.QUEUED
    assert "scancel" not in slurm.asked
    assert launcher.jobs()["a"].state == JobState.LOST
    assert "scancel" in slurm.asked


def test_it_says_how_many_jobs_are_outside_the_queue_and_why(tmp_path):
    slurm = FakeSlurm(sbatch=[SENT, FULL], squeue=row("7", "PENDING").replace("None", "Priority"))
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    assert launcher.held_up == (0, "")
    launcher.submit(job(tmp_path, "b"))
    launcher.jobs()
    assert launcher.held_up == (1, FULL.problem)
    assert launcher.reasons == {"Priority": 1}
    slurm.say(sbatch="Submitted batch job 8\n", squeue=row("7", "RUNNING") + row("8", "PENDING"))
    for _ in range(2):
        launcher.jobs()
    assert launcher.held_up == (0, "")
    assert launcher.reasons == {}


def test_a_job_that_sbatch_says_nothing_about_is_outside_until_it_is_seen(tmp_path):
    launcher = launch(tmp_path, FakeSlurm(sbatch=SILENT), "a")
    launcher.jobs()
    assert launcher.held_up == (1, SILENT.problem)
