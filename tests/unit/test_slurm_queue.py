"""What SLURM says of jobs, read from recorded output, with and without accounting; and what follows for a job."""

from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, no

from slurm.batch import Word
from slurm.ending import status_of
from slurm.launcher import JobState
from slurm.queue import Pace, Seen, look, parse_sacct, parse_scontrol, parse_squeue

RECORDED = Path(__file__).parents[1] / "data" / "slurm"
UNSEEN = {
    "20.11": ("FAILED", 1, None),
    "22.05": ("FAILED", 0, 53),
    "22.05-accounting": ("FAILED", 0, 53),
    "24.11": ("COMPLETED", 0, None),
}
"""What ``squeue`` says of a job whose log is in a folder that is not there on the node: that version makes it."""
PLACES = pytest.mark.parametrize("place", ["20.11", "22.05", "22.05-accounting", "24.11"])


def read(place: str, command: str) -> str:
    return (RECORDED / place / f"{command}.txt").read_text()


def jobs_of(place: str) -> dict[str, str]:
    """The recorded jobs' numbers by name."""
    return dict(line.split() for line in read(place, "jobs").splitlines())


def states(seen: dict[str, Seen], place: str) -> dict[str, str]:
    """States by the jobs' names; of the array as ``ends_1``."""
    names = {number: name for name, number in jobs_of(place).items()}
    return {names[id_.partition("_")[0]] + id_.partition("_")[2]: one.state for id_, one in seen.items()}


@PLACES
def test_squeue_shows_every_job(place):
    seen = parse_squeue(read(place, "squeue"))
    assert states(seen, place) == {
        "limit": "TIMEOUT", "ends0": "COMPLETED", "ends1": "FAILED", "ends2": "FAILED", "ends3": "RUNNING",
        "held": "PENDING", "cancelled": "CANCELLED", "cut": "CANCELLED", "requeued": "RUNNING", "killed": "FAILED",
        "heldarray2": "PENDING", "heldarray3": "PENDING", "heldarray4": "PENDING", "running": "RUNNING",
        "unseen": UNSEEN[place][0], "special": "SPECIAL_EXIT", "depends": "PENDING",
        "throttled0": "RUNNING", "throttled1": "PENDING",
    }  # fmt: skip
    jobs = jobs_of(place)
    assert seen[jobs["requeued"]].restarts == 1
    assert seen[f"{jobs['ends']}_1"].exit_code == 3
    assert seen[f"{jobs['ends']}_2"].exit_code == 128 + 11
    killed = seen[jobs["killed"]]
    assert (killed.state, killed.signal) == ("FAILED", 9)
    assert killed.reason == ("RaisedSignal:9(Killed)" if place == "24.11" else "JobLaunchFailure")
    assert (seen[jobs["special"]].restarts, seen[jobs["special"]].reason) == (1, "job requeued in held state")
    assert not seen[jobs["special"]].stuck  # somebody holds it, and may let it go
    assert seen[f"{jobs['throttled']}_1"].reason == "JobArrayTaskLimit"
    assert (seen[jobs["running"]].node[:1], seen[jobs["held"]].node) == ("n", "")
    assert seen[jobs["cancelled"]].comment == "no|comment"
    assert seen[f"{jobs['ends']}_0"].comment == "ablate/000000000001: trial-a, trial-b, trial-c and 1 more"
    assert seen[jobs["running"]].exit_code is None


@PLACES
def test_scontrol_agrees_with_squeue(place):
    queue, shown = parse_squeue(read(place, "squeue")), parse_scontrol(read(place, "scontrol"))
    assert shown.keys() <= queue.keys()
    assert {f"{jobs_of(place)['ends']}_{index}" for index in range(4)} < shown.keys()
    for name, one in shown.items():
        assert (one.state, one.restarts) == (queue[name].state, queue[name].restarts)
        if one.state == "FAILED":
            other = queue[name]
            assert (one.exit_code, one.signal, one.reason) == (other.exit_code, other.signal, other.reason)


@PLACES
def test_a_node_that_does_not_see_the_store_is_named_whatever_slurm_makes_of_it(place):
    seen = parse_squeue(read(place, "squeue"))[jobs_of(place)["unseen"]]
    assert (seen.state, seen.exit_code, seen.signal) == UNSEEN[place]
    assert status_of(seen, None, patient=True) is None
    status = status_of(seen, None, patient=False)
    assert status is not None
    assert (status.state, status.node) == (JobState.FAILED, "n2")
    assert "on n2" in status.problem
    assert status.problem.partition(":")[0] == NOT_SEEN  # equal on every node


def test_sacct_tells_states_and_exit_codes():
    seen = parse_sacct(read("22.05-accounting", "sacct"))
    found = states(seen, "22.05-accounting")
    assert (found["limit"], found["cut"], found["cancelled"], found["ends1"]) == (
        "TIMEOUT", "CANCELLED", "CANCELLED", "FAILED",
    )  # fmt: skip
    jobs = jobs_of("22.05-accounting")
    assert seen[f"{jobs['ends']}_1"].exit_code == 3
    assert seen[jobs["killed"]].signal == 9


@pytest.mark.parametrize("parse", [parse_squeue, parse_sacct, parse_scontrol])
def test_lines_that_are_not_understood_are_passed_over(parse):
    assert parse("slurm_load_jobs error: Unable to contact slurm controller\n||||||\nJobId=x JobState=\n1|2\n") == {}


def test_one_question_is_enough_while_squeue_shows_all():
    slurm = FakeSlurm(squeue=read("22.05-accounting", "squeue"))
    assert look(slurm, ["2_0", "1"]).jobs["1"].state == "TIMEOUT"
    assert slurm.asked == ["squeue"]


def test_what_left_the_queue_is_looked_up_in_the_accounts():
    slurm = FakeSlurm(squeue="", sacct=read("22.05-accounting", "sacct"))
    found = look(slurm, ["1", "2_1"]).jobs
    assert (found["1"].state, found["2_1"].exit_code) == ("TIMEOUT", 3)
    assert slurm.asked == ["squeue", "sacct"]


def test_without_accounts_the_controller_is_asked():
    slurm = FakeSlurm(squeue="", sacct=no("Slurm accounting storage is disabled"), scontrol=read("22.05", "scontrol"))
    found = look(slurm, ["1", "2_1"]).jobs
    assert (found["1"].state, found["2_1"].exit_code) == ("TIMEOUT", 3)
    assert slurm.asked == ["squeue", "sacct", "scontrol"]


def test_a_job_that_only_the_accounts_call_running_is_gone():
    slurm = FakeSlurm(squeue="", sacct=read("22.05-accounting", "sacct"), scontrol=no("Invalid job id specified"))
    assert "12" not in look(slurm, ["12"]).jobs


def test_a_silent_controller_is_told():
    assert "contact" in look(FakeSlurm(squeue=no("Unable to contact slurm controller")), ["1"]).problem


def test_looks_become_rarer_while_nothing_happens():
    pace, now, waits = Pace(10.0), 0.0, []
    for _ in range(8):
        pace.looked(now, changed=False)
        waits.append(round(pace.due - now))
        now = pace.due
    assert waits == [15, 22, 34, 51, 60, 60, 60, 60]
    pace.looked(now, changed=True)
    assert pace.due == now + 10
    pace.looked(now, changed=False)
    pace.hurry(now)
    assert pace.due == now + 10


NOT_SEEN = "the store is not seen where the job ran"
BEGUN, SAVED, DONE = (Word(restart=0, exit_code=code) for code in (None, 75, 0))


@pytest.mark.parametrize(
    ("state", "word", "expected"),
    [
        ("PENDING", None, (JobState.QUEUED, None, None)),
        ("PENDING", SAVED, (JobState.QUEUED, None, None)),  # queued again
        ("REQUEUE_HOLD", SAVED, (JobState.QUEUED, None, None)),
        ("RUNNING", BEGUN, (JobState.RUNNING, None, None)),
        ("RUNNING", DONE, (JobState.SUCCEEDED, 0, None)),  # its script only sees to what comes next
        ("RUNNING", SAVED, (JobState.FAILED, 75, None)),
        ("RUNNING", Word(restart=1, exit_code=0), (JobState.RUNNING, None, None)),
        ("COMPLETING", DONE, (JobState.RUNNING, None, None)),
        ("SOMETHING_NEW", None, (JobState.RUNNING, None, None)),
        ("COMPLETED", DONE, (JobState.SUCCEEDED, 0, None)),
        ("COMPLETED", SAVED, (JobState.FAILED, 75, None)),
        ("FAILED", Word(restart=0, exit_code=3), (JobState.FAILED, 3, None)),
        ("FAILED", Word(restart=0, exit_code=139), (JobState.KILLED, None, 11)),
        ("OUT_OF_MEMORY", Word(restart=0, exit_code=137), (JobState.KILLED, None, 9)),
        ("OUT_OF_MEMORY", BEGUN, (JobState.KILLED, None, None)),
        ("TIMEOUT", BEGUN, (JobState.KILLED, None, None)),
        ("TIMEOUT", SAVED, (JobState.FAILED, 75, None)),
        ("CANCELLED", None, (JobState.CANCELLED, None, None)),
        ("CANCELLED", BEGUN, (JobState.KILLED, None, 15)),
        ("CANCELLED", SAVED, (JobState.FAILED, 75, None)),
        ("NODE_FAIL", BEGUN, (JobState.LOST, None, None)),
        ("BOOT_FAIL", None, (JobState.LOST, None, None)),
        ("PREEMPTED", BEGUN, (JobState.LOST, None, None)),
        ("PREEMPTED", SAVED, (JobState.FAILED, 75, None)),
        ("PREEMPTED", Word(restart=0, exit_code=137), (JobState.LOST, None, None)),
        ("PREEMPTED", DONE, (JobState.SUCCEEDED, 0, None)),
        ("NODE_FAIL", Word(restart=0, exit_code=1), (JobState.LOST, None, None)),
        ("NODE_FAIL", Word(restart=0, exit_code=137), (JobState.LOST, None, None)),
        ("BOOT_FAIL", Word(restart=0, exit_code=1), (JobState.LOST, None, None)),
    ],
)
def test_a_job_stands_as_slurm_and_its_script_say(state, word, expected):
    status = status_of(Seen(state=state, restarts=0), word, patient=True)
    assert status is not None
    assert (status.state, status.exit_code, status.signal) == expected
    assert status.out_of_memory == (state == "OUT_OF_MEMORY")
    assert status.node_failed == (state in ("NODE_FAIL", "BOOT_FAIL"))


@pytest.mark.parametrize("state", ["RUNNING", "FAILED", "OUT_OF_MEMORY", "COMPLETED"])
@pytest.mark.parametrize(("code", "short"), [(137, True), (1, True), (75, False), (0, False)])
def test_what_the_script_read_of_memory_counts_before_slurm_closes_the_job(state, code, short):
    word = Word(restart=0, exit_code=code, out_of_memory=True)
    status = status_of(Seen(state=state, restarts=0), word, patient=True)
    assert status is not None
    assert status.out_of_memory == short


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_the_word_of_an_earlier_run_does_not_count(state):
    """The script is waited for, since file systems lag, and not for ever."""
    seen = Seen(state=state, restarts=1, exit_code=0)
    assert status_of(seen, SAVED, patient=True) is None
    status = status_of(seen, SAVED, patient=False)
    assert status is not None
    assert status.state == JobState.LOST


def test_a_script_that_could_not_say_how_it_ended():
    killed = status_of(Seen(state="FAILED", restarts=0, exit_code=0, signal=9), BEGUN, patient=False)
    failed = status_of(Seen(state="FAILED", restarts=0, exit_code=3), BEGUN, patient=False)
    never_began = status_of(Seen(state="FAILED", exit_code=1, reason="JobLaunchFailure"), None, patient=False)
    assert killed is not None
    assert failed is not None
    assert never_began is not None
    assert (killed.state, killed.signal) == (JobState.KILLED, 9)
    assert (failed.state, failed.exit_code) == (JobState.FAILED, 3)
    assert never_began.state == JobState.LOST
    assert "JobLaunchFailure" in never_began.problem


@pytest.mark.parametrize(
    ("reason", "stuck"),
    [
        ("launch failed requeued held", True),
        ("launch_failed_requeued_held", True),
        ("JobHoldMaxRequeue", True),
        ("JobHeldUser", False),
        ("Priority", False),
    ],
)
def test_what_slurm_itself_holds_never_starts(reason, stuck):
    status = status_of(Seen(state="PENDING", restarts=1, reason=reason), BEGUN, patient=True)
    assert status is not None
    assert (status.state, status.node) == ((JobState.LOST, None) if stuck else (JobState.QUEUED, BEGUN.node))
