"""The contract of a study's place, for a journal file and for a database in a file; PostgreSQL is in the integration
tests."""

from pathlib import Path

import pytest
from study_contract import *  # noqa: F403

from ablations.errors import BadInput, StudyAway
from ablations.study_place import check_database


@pytest.fixture(params=["journal", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "journal" else f"sqlite:///{tmp_path}/studies.db"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("no address, secret", BadInput),
        ("sqlite:////nowhere/secret-not/studies.db", StudyAway),
        ("postgresql://me:se/cret@127.0.0.1:9/studies?password=secret", StudyAway),
        ("mysql+pymysql://me:secret@127.0.0.1:9/studies", StudyAway),  # its driver is no dependency of the tests
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(address: str, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        check_database(address)
    assert "cret@" not in str(raised.value)
    assert "password=secret" not in str(raised.value)
    assert ":secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
