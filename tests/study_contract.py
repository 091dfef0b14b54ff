"""What a search may expect of the place of its study, whichever it is: the same suite for a file and for databases.

A module that imports these tests gives the fixture ``url``: an empty database, or ``None`` for the journal.
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine, create_engine, event, text

from ablations.search_arms import SearchArm
from ablations.store import Store
from ablations.study import Study
from ablations.study_place import JOURNAL, StudyPlace, study_place
from ablations.sweep import Sweep
from ablations.sweep_file import read_sweep

AXES = """
  optimisation.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}
  optimisation.matrix_learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}"""


class Searched:
    """A search of one store."""

    def __init__(self, root: Path, url: str | None, *, sampler: str = "tpe", pruner: str = "none", arms: int = 6):
        self.store = Store(root / "store")
        self.folder = self.store.sweep("searched")
        self.folder.mkdir(parents=True, exist_ok=True)
        file = root / "sweep.yaml"
        file.write_text(
            f"name: searched\naxes:{AXES}\nset: {{evaluation.every: 50, training.steps: 300}}\n"
            f"design: {{kind: search, arms: {arms}, sampler: {sampler}, pruner: {pruner}, seed: 3}}\n"
        )
        self.sweep: Sweep = read_sweep(file)
        self.url = url
        self.warnings: list[str] = []

    @property
    def place(self) -> StudyPlace:
        return study_place("searched", store=self.store, url=self.url)

    def open(self, arms: Sequence[SearchArm] = ()) -> Study:
        return Study.open(self.place, self.sweep, arms, warn=self.warnings.append)

    def search(self, study: Study, *, arms: int = 100) -> tuple[SearchArm, ...]:
        """To the end, or until there are so many arms: what was asked for and not told is run first."""
        waiting = [arm for arm in study.arms if arm.state == "running"]
        while waiting or (len(study.arms) < arms and (waiting := study.ask(1, name))):
            study.tell(waiting[0].key, score(waiting[0]), "done")
            waiting = waiting[1:]
        return study.arms

    def lose(self) -> None:
        if self.url is None:
            (self.folder / JOURNAL).unlink()
        else:
            for one in studies(self.url):
                optuna.delete_study(study_name=one, storage=self.url)

    def damage(self, way: int) -> None:
        """Change what is kept behind the study's back."""
        if self.url is None:
            path = self.folder / JOURNAL
            path.write_bytes([b"no journal\n", b'{"op_code": 77}\n', b"[]\n"][way])
            return
        changes = (
            "DELETE FROM trial_user_attributes WHERE key = 'arm'",
            "UPDATE trial_params SET distribution_json = 'nothing'",
            "DELETE FROM trial_values",
        )
        with create_engine(self.url).begin() as connection:
            connection.execute(text(changes[way]))


def name(point: object) -> str:
    return repr(sorted(point.items()))  # type: ignore[attr-defined]


def score(arm: SearchArm) -> float:
    return -sum((math.log10(float(rate)) + 1.3) ** 2 for rate in arm.values.values())


def studies(url: str) -> list[str]:
    return optuna.get_all_study_names(url)


def test_proposals_are_those_of_a_journal_however_often_the_study_is_opened(tmp_path: Path, url: str | None) -> None:
    (tmp_path / "other").mkdir()
    for sampler in ("random", "tpe", "cmaes"):
        journal = Searched(tmp_path / "other", None, sampler=sampler, arms=6)
        whole = journal.search(journal.open())
        journal.lose()
        here = Searched(tmp_path, url, sampler=sampler, arms=6)
        for arms in (2, 4, 6):
            found = here.search(here.open(), arms=arms)
        assert found == whole
        assert not here.warnings
        here.lose()


def test_arms_are_given_up_as_with_a_journal(tmp_path: Path, url: str | None) -> None:
    """Though Hyperband sorts arms by the name of the study, and that changes when it is made anew."""
    verdicts = []
    (tmp_path / "other").mkdir()
    for root, where in ((tmp_path, url), (tmp_path / "other", None)):
        here = Searched(root, where, pruner="hyperband", sampler="random", arms=24)
        study = here.open()
        started = study.ask(12, name)
        here.lose()
        study = here.open(started)
        scores = [
            SearchArm(key=arm.key, values=arm.values, intermediate={50: 0.1 + 0.01 * (11 - number)})
            for number, arm in enumerate(started)
        ]
        verdicts.append(study.update(scores))
        assert here.open(scores).update(scores) == verdicts[-1]
    assert verdicts[0] == verdicts[1]
    assert 0 < len(verdicts[0]) < 12


def test_a_study_that_is_lost_is_made_anew_from_the_records(tmp_path: Path, url: str | None) -> None:
    here = Searched(tmp_path, url, arms=8)
    study = here.open()
    for state in ("done", "pruned", "failed", "diverged", "done"):
        (arm,) = study.ask(1, name)
        study.report(arm.key, 50, score(arm))
        study.tell(arm.key, score(arm) if state == "done" else None, state)  # type: ignore[arg-type]
    before = study.arms
    here.lose()
    assert here.open(before).arms == before
    assert here.open(before).ask(2, name) == study_of_a_journal(tmp_path, before).ask(2, name)
    assert not here.warnings


def study_of_a_journal(root: Path, arms: Sequence[SearchArm]) -> Study:
    (root / "journal").mkdir()
    return Searched(root / "journal", None, arms=8).open(arms)


@pytest.mark.parametrize("way", [0, 1, 2])
def test_a_study_that_is_damaged_is_made_anew_from_the_records(tmp_path: Path, url: str | None, way: int) -> None:
    here = Searched(tmp_path, url, arms=4)
    before = here.search(here.open())
    here.damage(way)
    assert here.open(before).arms == before
    assert here.open(before).arms == before
    assert len(here.warnings) <= 1


def test_records_that_say_otherwise_win(tmp_path: Path, url: str | None) -> None:
    here = Searched(tmp_path, url, arms=4)
    arms = list(here.search(here.open()))
    arms[1] = SearchArm(key=arms[1].key, values=arms[1].values, state="done", value=0.5)
    arms[2] = SearchArm(key=arms[2].key, values=arms[2].values, state="failed")
    assert here.open(arms).arms == tuple(arms)
    assert here.open().arms == tuple(arms)
    if url is not None:
        assert len(studies(url)) == 1


def test_sweeps_of_one_name_from_two_stores_do_not_meet(tmp_path: Path, url: str | None) -> None:
    (tmp_path / "other").mkdir()
    here, there = Searched(tmp_path, url), Searched(tmp_path / "other", url)
    mine = here.search(here.open(), arms=2)
    assert there.open().arms == ()
    theirs = there.search(there.open(), arms=3)
    assert (here.open().arms, there.open().arms) == (mine, theirs)


def test_a_kill_before_any_commit_changes_nothing(tmp_path: Path, url: str | None) -> None:
    """Real processes that die, each a commit later than the one before; for a journal, each line is one."""
    whole = Searched(tmp_path, url, arms=2)
    expected = whole.search(whole.open())
    changed = [SearchArm(key=expected[0].key, values=expected[0].values, state="failed"), *expected[1:]]
    whole.lose()
    number = 0
    while True:
        here = Searched(tmp_path, url, arms=2)
        killed = _dies(lambda here=here: (here.search(here.open()), here.open(changed)), before=number)  # type: ignore[misc]
        found = here.open()
        assert here.search(found) in (expected, tuple(changed)), number
        assert not here.warnings
        assert here.open(expected).arms == expected
        if url is not None:
            assert len(studies(url)) <= 2  # the old one goes when there is another
        here.lose()
        if not killed:
            break
        number += 1 if url is None else 7
    assert number > 6


def _dies(act: Callable[[], object], *, before: int) -> bool:
    """``act`` in a process that is gone before its commit of this number; whether there was one."""
    child = os.fork()
    if child == 0:
        left = before

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)

        event.listen(Engine, "commit", count)
        fsync = os.fsync
        os.fsync = lambda file: (fsync(file), count())[0]  # what a journal does after each line
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
