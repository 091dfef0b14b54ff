"""The cluster's launcher and its batch scripts, with a SLURM that says what it is told to."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, no

from slurm import cluster as cluster_module
from slurm.batch import Word, load_batches, read_word, write_batch
from slurm.cluster import ClusterLauncher
from slurm.commands import clean
from slurm.launcher import Job, JobState, LauncherError, Resources
from slurm.profile import Controller, Profile
from slurm.script import Afterwards, Site, batch_script, follower_script
from slurm.task import rank_variables

HURRIED = Profile(poll_seconds=0.0)
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
note() { echo "$@" $SECONDS > "$status.$restart" && mv -f "$status.$restart" "$status"; }
log=/proc/$$/fd/1 before=$(stat -Lc %s /proc/$$/fd/1)  # what earlier runs wrote is not of this one
note begun $restart $SLURMD_NODENAME
module load cuda

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --nodes=1 --ntasks=1 --cpus-per-task=8 apptainer exec x.sif python -u -m slurm.task FOLDER


# teardown
code=$?
short='^(slurmstepd|srun)[^:]*: error: .*(oom[-_ ]kill|Out Of Memory|xceeded .*memory limit)'
tail -c +$((before + 1)) $log | grep -qE "$short" && memory=out-of-memory
note ended $restart $code $SLURMD_NODENAME $memory
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


@pytest.mark.parametrize(
    ("says", "code", "short"),
    [
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0 cgroup. Some of your processes may", 137, True),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM", 137, True),
        ("slurmstepd-n1: error: StepId=7.0 exceeded memory limit (5000 > 4000), being killed", 137, True),
        ("srun: error: n1: task 0: Out Of Memory", 137, True),
        ("srun: error: n1: task 0: Killed", 137, False),
        ("ValueError: an oom-kill that the program speaks of", 1, False),
        ("", 0, False),
    ],
)
def test_the_script_reads_in_its_log_that_memory_was_short(tmp_path, says, code, short):
    """By a shell, with a step that says and does what SLURM's would."""
    batch = write_batch(tmp_path / "cluster", [job(tmp_path)])
    file = tmp_path / "script.sh"
    file.write_text(batch_script(batch, Site(profile=Profile(), title="x")))
    (tmp_path / "srun").write_text(f'#!/bin/sh\necho "{says}" >&2\nexit {code}\n')
    (tmp_path / "srun").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURMD_NODENAME": "n1", "SLURM_RESTART_COUNT": "2"}
    log = batch.folder / "0.out"
    log.write_text("srun: error: n1: task 0: Out Of Memory\n")  # of an earlier run
    with log.open("a") as output:
        subprocess.run(["bash", str(file)], stdout=output, stderr=output, env=environment)
    said = read_word(batch, 0)
    assert said is not None
    assert said.seconds is not None
    assert replace(said, seconds=None) == Word(restart=2, exit_code=code, node="n1", out_of_memory=short)


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
    last = lines.index("py -m some.module 'a b' --just-ended >> /store/advance.log 2>&1")
    ended = lines.index("note ended $restart $code $SLURMD_NODENAME $memory")
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
    assert lines[place + 8] == "note ended $restart $code $SLURMD_NODENAME $memory"


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
#SBATCH --begin=now+60
#SBATCH --comment='ablate: starts what comes next'
#SBATCH --cpus-per-task=1
#SBATCH --job-name=x-next
#SBATCH --mem=2G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/dev/null
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=0:15:00

# setup
exec >> /store/advance.log 2>&1
rm -f /store/cluster/follower.when

# command
export SUBMITIT_EXECUTOR=slurm
timeout 10m py -m some.module 'a b'


# teardown
[ "$(cat /store/cluster/follower 2> /dev/null)" = $SLURM_JOB_ID ] || exit 0  # nothing is left to do
trap '' TERM  # being queued again ends this script, which then says when it is to begin
scontrol requeue $SLURM_JOB_ID || exit
looks=$((1 + ${SLURM_RESTART_COUNT:-0}))
pause=$((60 * (looks < 30 ? looks : 30)))
scontrol update JobId=$SLURM_JOB_ID $(cat /store/cluster/follower.when 2> /dev/null || echo StartTime=now+$pause)
"""


def follower(**profile: object) -> str:
    site = Site(profile=Profile(python="py", **profile), title="x", afterwards=AFTERWARDS)  # type: ignore[arg-type]
    return follower_script(site, AFTERWARDS, Path("/store/cluster"))


def test_the_job_that_looks_after_the_others():
    assert follower(partition="gpu", account="vision") == FOLLOWER


def test_it_has_the_flags_of_the_others_but_for_their_size():
    flags = {"mem": None, "mem-per-cpu": "4G", "reservation": "r", "exclusive": True, "gpus-per-task": 1}
    plain = follower(partition="gpu", qos="low", flags={**flags, "ntasks-per-node": 8})
    found = set(re.findall(r"#SBATCH (.*)", plain))
    assert {"--mem-per-cpu=4G", "--reservation=r", "--partition=gpu", "--qos=low", "--ntasks-per-node=1"} <= found
    assert not any(flag.startswith(("--mem=", "--exclusive", "--gpus")) for flag in found)


def test_a_profile_says_what_else_it_is_to_have():
    controller = Controller(partition="cpu", qos="short", flags={"reservation": None, "nice": 100})
    found = set(
        re.findall(r"#SBATCH (.*)", follower(partition="gpu", flags={"reservation": "r"}, controller=controller))
    )
    assert {"--partition=cpu", "--qos=short", "--nice=100"} <= found
    assert not any("reservation" in flag for flag in found)


def test_it_takes_its_place_before_the_others_and_is_sent_again_where_it_is_gone(tmp_path):
    slurm = FakeSlurm(sbatch=[SENT, "Submitted batch job 8\n", "Submitted batch job 9\n"])
    launcher = launch(tmp_path, slurm, "a", afterwards=AFTERWARDS)
    assert (launcher.follow_up(), launcher.followed) == ("", True)
    slurm.say(squeue=row("7", "PENDING") + row("8", "RUNNING"))
    launcher.jobs()
    launcher.leave(over=False)
    assert (tmp_path / "cluster" / "follower").read_text() == "7"
    assert (tmp_path / "cluster" / "follower.when").read_text() == "Dependency=afterany:8"
    for state, sent in (("PENDING", 2), ("RUNNING", 2), ("TIMEOUT", 3)):
        slurm.say(squeue=row("8", "RUNNING") + row("7", state))
        heir = launch(tmp_path, slurm, afterwards=AFTERWARDS)
        heir.jobs()
        heir.follow_up()
        assert slurm.asked.count("sbatch") == sent
    assert (tmp_path / "cluster" / "follower").read_text() == "9"


def test_without_jobs_it_looks_again_after_a_while_and_when_all_is_over_it_goes(tmp_path):
    slurm = FakeSlurm(sbatch=SENT, squeue=row("7", "PENDING"))
    launch(tmp_path, slurm, afterwards=AFTERWARDS).follow_up()
    (tmp_path / "cluster" / "follower.when").write_text("Dependency=afterany:8")
    launcher = launch(tmp_path, slurm, afterwards=AFTERWARDS)
    launcher.follow_up()
    launcher.leave(over=False)
    assert not (tmp_path / "cluster" / "follower.when").exists()
    assert launcher.followed
    launcher.leave(over=True)
    assert not launcher.followed
    assert slurm.asked[-1] == "scancel"


def test_a_profile_may_want_none(tmp_path):
    slurm = FakeSlurm(sbatch=SENT)
    launcher = launch(tmp_path, slurm, afterwards=AFTERWARDS, profile=Profile(controller=False))
    assert (launcher.follow_up(), launcher.followed) == ("", False)
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


def launch(
    folder: Path,
    slurm: FakeSlurm,
    *names: str,
    afterwards: Afterwards | None = None,
    profile: Profile = HURRIED,
    just_ended: bool = False,
) -> ClusterLauncher:
    site = Site(profile=profile, title="connector", afterwards=afterwards)
    launcher = ClusterLauncher(site, folder=folder / "cluster", slurm=slurm, just_ended=just_ended)
    for name in names:
        launcher.submit(job(folder, name))
    return launcher


def row(number: str, state: str, comment: str = "") -> str:
    return f"{number}|{state}|0|0|None|n1|{comment}|\n"


def test_a_refusal_is_the_jobs_problem_in_the_schedulers_words(tmp_path):
    words = "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"
    launcher = launch(tmp_path, FakeSlurm(sbatch=no(words)), "a", "b")
    assert {(one.state, one.problem) for one in launcher.jobs().values()} == {(JobState.FAILED, words)}
    assert load_batches(tmp_path / "cluster") == []


LIMIT = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"  # noqa: E501


@pytest.mark.parametrize(
    ("reason", "waits"),
    [
        ("QOSMaxSubmitJobPerUserLimit", True),
        ("QOSGrpSubmitJobsLimit", True),
        ("AssocMaxSubmitJobLimit", True),
        ("AssocGrpSubmitJobsLimit", True),
        ("QOSMaxCpuPerJobLimit", False),
        ("QOSMaxCpuPerUserLimit", False),
        ("QOSMaxWallDurationPerJobLimit", False),
        ("QOSGrpCpuLimit", False),
        ("AssocGrpMemLimit", False),
    ],
)
def test_a_limit_on_the_number_of_jobs_is_waited_for_and_what_can_never_fit_is_refused(tmp_path, reason, waits):
    """As SLURM 22.05 says it; none of our jobs is in the queue."""
    launcher = launch(tmp_path, FakeSlurm(sbatch=no(f"sbatch: error: {reason} {LIMIT}")), "a")
    states = {launcher.jobs()["a"].state for _ in range(3)}
    assert states == {JobState.QUEUED if waits else JobState.FAILED}


def test_a_full_controller_is_waited_for(tmp_path):
    words = "sbatch: error: Batch job submission failed: Resource temporarily unavailable"
    slurm = FakeSlurm(sbatch=[no(words), no(words), SENT], squeue=["", "", row("7", "PENDING")])
    launcher = launch(tmp_path, slurm, "a")
    assert {launcher.jobs()["a"].state for _ in range(4)} == {JobState.QUEUED}
    assert (next((tmp_path / "cluster").glob("*/id"))).read_text() == "7"


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
    (batch.folder / "0.status").write_text("ended 0 137 n1 75\n")
    status = launcher.jobs()["a"]
    assert (status.state, status.signal, status.node, status.seconds) == (JobState.KILLED, 9, "n1", 75.0)


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


def ended(folder: Path, word: str, index: int = 0) -> None:
    ((batch, _),) = load_batches(folder / "cluster")
    (batch.folder / f"{index}.status").write_text(word)


PATIENT = Profile(poll_seconds=60.0)


def test_of_jobs_that_end_together_one_asks_and_the_others_settle_by_what_they_wrote(tmp_path):
    slurm = FakeSlurm(sbatch=SENT, squeue=row("7_0", "RUNNING") + row("7_1", "RUNNING"))
    launch(tmp_path, slurm, "a", "b", profile=PATIENT).jobs()
    launch(tmp_path, slurm, profile=PATIENT).jobs()
    ended(tmp_path, "ended 0 0 n1\n", 0)
    asked = len(slurm.asked)
    look = launch(tmp_path, slurm, profile=PATIENT, just_ended=True)
    assert {name: one.state for name, one in look.jobs().items()} == {"a": JobState.SUCCEEDED, "b": JobState.QUEUED}
    look.forget("a")
    look.submit(job(tmp_path, "c"))
    look.jobs()
    assert "sbatch" in slurm.asked[asked:]
    assert "squeue" not in slurm.asked[asked:]


@pytest.mark.parametrize(
    ("word", "profile"), [("ended 0 75 n1\n", PATIENT), ("ended 0 0 n1\n", Profile(poll_seconds=0.0))]
)
def test_slurm_is_asked_where_a_job_did_not_succeed_or_long_ago(tmp_path, word, profile):
    """It may have been queued again, or ended from outside."""
    slurm = FakeSlurm(sbatch=SENT, squeue=row("7", "RUNNING"))
    launch(tmp_path, slurm, "a", profile=PATIENT).jobs()
    launch(tmp_path, slurm, profile=PATIENT).jobs()
    ended(tmp_path, word)
    slurm.say(squeue=row("7", "PENDING"))
    look = launch(tmp_path, slurm, profile=profile, just_ended=True)
    assert look.jobs()["a"].state == JobState.QUEUED


def test_jobs_of_another_cluster_or_user_are_not_looked_for_here(tmp_path, monkeypatch):
    here = "ClusterName             = first\nMaxArraySize            = 1001\n"
    slurm = FakeSlurm(sbatch=SENT, squeue=row("7", "RUNNING"), scontrol=here)
    launch(tmp_path, slurm, "a").jobs()
    slurm.say(squeue="", scontrol=here.replace("first", "second"))
    with pytest.raises(LauncherError, match="login node of first"):
        launch(tmp_path, slurm).inherited()
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "first")
    monkeypatch.setattr("os.getuid", lambda: 4711)
    with pytest.raises(LauncherError, match="ID 4711"):
        launch(tmp_path, slurm).inherited()
    assert len(load_batches(tmp_path / "cluster")) == 1


def test_a_job_that_slurm_queued_again_after_its_end_was_noted_is_taken_out_of_the_queue(tmp_path):
    slurm = FakeSlurm(sbatch=[SENT, "Submitted batch job 8\n"], squeue=row("7", "RUNNING"))
    launcher = launch(tmp_path, slurm, "a")
    launcher.jobs()
    ((batch, _),) = load_batches(tmp_path / "cluster")
    ended(tmp_path, "ended 0 75 n1\n")
    launcher.jobs()
    launcher.forget("a")
    launcher.submit(job(tmp_path, "a"))
    stray = row("7", "PENDING", f"{batch.mark}: a").replace("|0|0|", "|1|0|")
    others = row("9", "PENDING", "ablate/00000000-00000000: b").replace("|0|0|", "|1|0|")
    slurm.say(squeue=stray + others + row("8", "PENDING"))
    for _ in range(2):
        launcher.jobs()
    assert ("scancel", "--state=PENDING", "7") in slurm.commands


def test_a_throttle_is_divided_among_the_arrays_that_are_handed_over_together(tmp_path):
    slurm = FakeSlurm(sbatch=[f"Submitted batch job {number}\n" for number in range(7, 11)])
    profile = Profile(poll_seconds=0.0, array_cap=4, throttle=5)
    launch(tmp_path, slurm, *"abcdefghij", profile=profile).jobs()
    scripts = [path.read_text() for path in (tmp_path / "cluster").glob("*/script.sh")]
    assert sorted(re.findall(r"--array=(.*)", "".join(scripts))) == ["0-1%1", "0-3%2", "0-3%2"]
