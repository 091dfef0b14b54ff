"""A search whose study is in a real PostgreSQL, which dies and comes back."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from fake_launcher import FakeLauncher
from mlflow_server import free_port
from postgres import Postgres, postgres
from search_world import World, rate
from sqlalchemy import create_engine, text
from study_contract import (  # noqa: F401
    test_a_kill_before_any_commit_changes_nothing,
    test_a_study_that_is_damaged_is_made_anew_from_the_records,
    test_proposals_are_those_of_a_journal_however_often_the_study_is_opened,
    test_sweeps_of_one_name_from_two_stores_do_not_meet,
)
from typer.testing import CliRunner

from ablations.cli import app
from ablations.errors import StudyAway
from ablations.store import Store
from ablations.study_place import study_place

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(free_port()) as started:
        yield started


@pytest.fixture
def url(server: Postgres) -> str:
    """An empty database."""
    name = f"studies{next(NUMBERS)}"
    with create_engine(server.uri, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return server.uri.removesuffix("mlflow") + name


def test_a_search_goes_on_while_the_database_is_away_and_the_study_catches_up(
    tmp_path: Path, server: Postgres, url: str
) -> None:
    options = {"score": rate, "sampler": "tpe", "arms": 8}
    (tmp_path / "whole").mkdir()
    whole = World(tmp_path / "whole", **options)
    whole.launcher = FakeLauncher(whole._simulate, capacity=1)
    whole.run()
    world = World(tmp_path, **options, study_url=url)
    world.launcher = FakeLauncher(world._simulate, capacity=1)
    dispatch = world.passes()
    for _ in range(6):
        next(dispatch)
    before = len(world.plan()["arms"])
    server.die()
    try:
        for _ in range(6):
            next(dispatch)
        assert len(world.plan()["arms"]) > before
        assert len(world.warned) == 1
        with pytest.raises(StudyAway):
            study_place("searched", store=Store(world.store.root), url=url).find()
    finally:
        server.start()
    for _ in dispatch:
        pass
    assert world.plan()["arms"] == whole.plan()["arms"]
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert [trial.user_attrs["arm"] for trial in trials] == [arm["key"] for arm in world.plan()["arms"]]
    assert {trial.state.name for trial in trials} == {"COMPLETE"}


def test_a_database_that_is_away_from_the_start_leaves_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: searched\naxes: {optimisation.learning_rate: {low: 0.001, high: 0.1}}\n"
        "design: {kind: search, arms: 3, sampler: random}\n"
    )
    away = f"postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/studies"
    ended = CliRunner().invoke(app, ["run", str(file), "--store", str(tmp_path / "store"), "--study", away])
    assert isinstance(ended.exception, StudyAway)
    assert ended.exception.exit_code == 5
    assert "secret" not in str(ended.exception)
    assert not (tmp_path / "store" / "sweeps").exists()


def test_no_password_is_in_the_command_that_records_keep(tmp_path) -> None:
    from ablations.provenance import provenance

    given = ["ablate", "run", "a.yaml", "--study", "postgresql://me:se/cret@host/db?password=secret&x=1"]
    kept = provenance(given, store=tmp_path)["command"]
    assert "cret" not in kept
    assert "host/db" in kept
