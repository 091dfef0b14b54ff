"""A store that was moved or copied has a database that names the artifacts of the old place. Such a database is put
aside, since MLflow would go on writing there; it is made anew from the records.

Asks SQLite alone: MLflow takes seconds to import.
"""

import os
import sqlite3
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite may have left beside a database; it would take them for the new one's."""


def names_another_place(database: Path, artifacts: Path, experiments: Collection[str]) -> bool:
    """Whether one of these experiments, or a run of it, has its artifacts in a folder that is not in ``artifacts``."""
    here = artifacts.resolve()
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "SELECT name, artifact_location FROM experiments UNION "
                "SELECT experiments.name, artifact_uri FROM runs JOIN experiments USING (experiment_id)"
            )
            found = {str(address) for name, address in rows if name in experiments and address}
    except sqlite3.Error:
        return False  # there is none, or it is damaged, which MLflow says
    places = [place for address in found if (place := _folder(address)) is not None]
    return not all(place.resolve().is_relative_to(here) for place in places)


def set_aside(database: Path) -> Path:
    """Rename a database to the first free ``<name>.moved-<n>``. Its writer's lease is held. Raises ``OSError``."""
    number = 1
    while (aside := database.with_name(f"{database.name}.moved-{number}")).exists():
        number += 1
    os.replace(database, aside)
    for end in _BESIDE:
        with suppress(FileNotFoundError):
            os.replace(f"{database}{end}", f"{aside}{end}")
    return aside


def _folder(address: str) -> Path | None:
    """The folder at an address; ``None`` for one that does not depend on where the store is."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(address) if address.startswith("/") else None
