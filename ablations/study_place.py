"""Where the study of a search is kept: in a journal file of the sweep's folder, or in a database that a URL names.

A study is made anew as a whole, and replaces the old one in one step: a kill before that leaves the old one. For a
file, that step is a rename. In a database, each study has a name of its own, STORE/SWEEP#NUMBER, with the identity of
the store; it counts from the moment it is marked, and of several the one with the highest number counts. There is one
writer, which holds the sweep's lease; others may read.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ablations.errors import BadInput, StudyAway, StudyGone
from ablations.store import Store, set_aside

JOURNAL = "study.journal"
MARK = "search"
"""The attribute that a study gets when it is complete; it says which search it belongs to."""

_CONNECT = 10
"""Seconds in which a server must accept a connection."""
_SILENCE = 30_000
"""Milliseconds in which a server must acknowledge what it was sent."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A study: the storage that has it, and its name there."""

    storage: BaseStorage
    name: str


class StudyPlace(Protocol):
    shown: str
    """The place as messages show it, without a password."""

    def find(self) -> Kept | None:
        """The study that is kept; ``None`` if there is none. Raises ``OSError``, ``StudyAway``, and anything else for
        one that is damaged."""

    def read(self) -> Kept | None:
        """``find`` for a reader that is not the study's writer: changes nothing."""

    def replace(self, fill: Callable[[Kept], None]) -> Kept:
        """Make the study anew: ``fill`` makes one with this name in this storage, and marks it last. Raises
        ``OSError``, ``StudyAway``."""

    def set_aside(self) -> str:
        """Move a damaged study out of the way; says where to, if anywhere."""

    def troubles(self) -> AbstractContextManager[None]:
        """Turn whatever keeps the study from being used within into a ``StudyAway``."""


def study_place(sweep: str, *, store: Store, url: str | None) -> StudyPlace:
    """The place of a sweep's study: the database at ``url``, or the journal. Raises ``BadInput`` if ``url`` is not a
    URL."""
    if url is None:
        return JournalFile(store.sweep(sweep) / JOURNAL, sweep)
    return Database(url, f"{store.identity()}/{sweep}")


def check_database(url: str) -> None:
    """Make sure that studies can be kept there. Raises ``BadInput``, ``StudyAway``."""
    Database(url, "").find()


class JournalFile:
    """A file that holds one study, a line for each change."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self.shown = str(path)

    def find(self) -> Kept | None:
        if not self._path.exists():
            return None
        _cut_unfinished_line(self._path)
        kept = Kept(storage=_journal(self._path), name=self._name)
        names = optuna.get_all_study_names(kept.storage)
        if names != [self._name]:
            raise ValueError(f"it holds the studies {names}")
        return kept

    def read(self) -> Kept | None:
        return Kept(storage=_journal(self._path), name=self._name) if self._path.exists() else None

    def replace(self, fill: Callable[[Kept], None]) -> Kept:
        draft = self._path.with_name(self._path.name + ".tmp")
        draft.unlink(missing_ok=True)
        fill(Kept(storage=_journal(draft), name=self._name))
        draft.replace(self._path)
        return Kept(storage=_journal(self._path), name=self._name)

    def set_aside(self) -> str:
        return f"kept as {set_aside(self._path).name}"

    def troubles(self) -> AbstractContextManager[None]:
        return nullcontext()


class Database:
    """An Optuna database, which may hold the studies of many sweeps, stores and people."""

    def __init__(self, url: str, name: str) -> None:
        self._url = _parsed(url)
        self._prefix = f"{name}#"
        self._storage: RDBStorage | None = None
        server = ":".join(str(part) for part in (self._url.host, self._url.port) if part)
        self.shown = f"{self._url.get_backend_name()}://{server}/{self._url.database or ''}"

    def find(self) -> Kept | None:
        with self.troubles():
            storage = self._opened()
            for number, study in sorted(self._studies().items(), reverse=True):
                if MARK in storage.get_study_user_attrs(study):
                    return Kept(storage=storage, name=f"{self._prefix}{number}")
            return None

    def read(self) -> Kept | None:
        return self.find()

    def replace(self, fill: Callable[[Kept], None]) -> Kept:
        with self.troubles():
            old = self._studies()
            kept = Kept(storage=self._opened(), name=f"{self._prefix}{max(old, default=0) + 1}")
            fill(kept)
            for study in old.values():
                kept.storage.delete_study(study)
            return kept

    def set_aside(self) -> str:
        return ""  # it is deleted as soon as there is another

    @contextmanager
    def troubles(self) -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise StudyGone(f"{self.shown}: the study was deleted or changed by someone ({error})") from error
        except (SQLAlchemyError, StorageInternalError) as error:
            raise StudyAway(f"{self.shown}: {_reason(error)}") from error

    def _opened(self) -> RDBStorage:
        if self._storage is None:
            options: dict[str, Any] = {"pool_pre_ping": True}  # a server may have been restarted in between
            if self._url.drivername.startswith("postgresql+psycopg"):
                options["connect_args"] = {"connect_timeout": _CONNECT, "tcp_user_timeout": _SILENCE}
            try:
                self._storage = RDBStorage(self._url.render_as_string(hide_password=False), engine_kwargs=options)
            except ImportError as error:
                raise StudyAway(
                    f"{self.shown}: the driver for this database is not installed ({error.__cause__ or error}); that "
                    'for PostgreSQL comes with the extra `postgres`: pip install --editable ".[postgres]"'
                ) from error
            except RuntimeError as error:  # its tables are of another version of Optuna
                raise StudyAway(f"{self.shown}: {error}") from error
        return self._storage

    def _studies(self) -> dict[int, int]:
        """Optuna's number of each study of the sweep, by our number."""
        storage = self._opened()
        names = {study.study_name: study._study_id for study in storage.get_all_studies()}
        return {
            int(name.removeprefix(self._prefix)): study
            for name, study in names.items()
            if name.startswith(self._prefix) and name.removeprefix(self._prefix).isdigit()
        }


class Memory:
    """A study in memory, for as long as a database is away."""

    shown = "memory"

    def __init__(self, name: str) -> None:
        self._name = name

    def find(self) -> Kept | None:
        return None

    def read(self) -> Kept | None:
        return None

    def replace(self, fill: Callable[[Kept], None]) -> Kept:
        kept = Kept(storage=InMemoryStorage(), name=self._name)
        fill(kept)
        return kept

    def set_aside(self) -> str:
        return ""

    def troubles(self) -> AbstractContextManager[None]:
        return nullcontext()


class _NoLock:
    """Replaces Optuna's lock: the journal has one writer already, and the lock of a killed process would hold up the
    next for 30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_NoLock()))  # type: ignore[arg-type]


def _cut_unfinished_line(path: Path) -> None:
    """Remove the line that a kill cut short: it never happened, and the next line would be appended to it."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:  # without the text, which may hold a password
        raise BadInput(
            "the address of the study (--study, ABLATE_STUDY) is not the URL of a database; "
            "an allowed one is, for example, postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None
    # The driver of our extra; SQLAlchemy's own choice changed with its versions.
    return parsed.set(drivername="postgresql+psycopg2") if parsed.drivername == "postgresql" else parsed


def _reason(error: BaseException) -> str:
    """What the database said, in one line and without our query."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(said).split())[:300]
