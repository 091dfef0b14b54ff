"""The store: finished and unfinished stages by kind and key, and the folders of the sweeps.

``store/<kind>/<key>/`` holds ``work/``, a lease while a process works there, ``failure.json`` after a failed attempt,
and finally ``record.json``. A record is there as a whole or not at all: it is written under another name, flushed to
disk and renamed. A record that does not hold what it must, or whose work is gone or of another size, is set aside under
another name, with a warning, and the stage is run again.
"""

import errno
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ablations.errors import StoreError
from mm1core.storage import checksum

Warn = Callable[[str], None]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_AWAY = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT)
_CHECKPOINTS = "checkpoints"
STORE_FAULTS = (*_FULL, *_DENIED, *_AWAY)
"""Errors of the operating system that say something about the disk, not about the program."""


@dataclass(frozen=True, kw_only=True)
class StageFolder:
    """The folder of one stage."""

    kind: str
    key: str
    path: Path

    @property
    def work(self) -> Path:
        return self.path / "work"

    def newest_checkpoint(self) -> int | None:
        """The step of the newest checkpoint that an attempt left."""
        folder = self.work / _CHECKPOINTS
        names = os.listdir(folder) if folder.is_dir() else []
        steps = [int(found[1]) for name in names if (found := re.fullmatch(r"step-(\d+)(?:\.\w+)?", name))]
        return max(steps, default=None)

    def record(self, warn: Warn, *, contents: bool = False) -> dict[str, Any] | None:
        """The stage's record; ``None`` if there is none, or only an unusable one, which is set aside.

        ``contents``: the files it names are read as well, and must still hold what was recorded.
        """
        path = self.path / "record.json"
        try:
            record = read_object(path)
            self._check(record, contents=contents)
        except FileNotFoundError:
            return None
        except Damaged as damage:
            aside = set_aside(path)
            warn(f"{path} {damage}; it is kept as {aside.name} and the stage is run again")
            return None
        return record

    def damage(self) -> str | None:
        """What is wrong with the record or the files it names, which are read as well; ``None`` if nothing is. Changes
        nothing."""
        try:
            self._check(read_object(self.path / "record.json"), contents=True)
        except FileNotFoundError:
            return "is missing"
        except Damaged as damage:
            return str(damage)
        return None

    def files(self) -> dict[str, dict[str, Any]]:
        """Size and checksum, by name, of the files that the stage leaves to others; not of those it kept for itself on
        the way."""
        return {
            path.relative_to(self.work).as_posix(): {"bytes": path.stat().st_size, "crc32": f"{checksum(path):08x}"}
            for path in sorted(self.work.rglob("*"))
            if path.is_file()
            and not path.name.startswith("spool.jsonl")
            and _CHECKPOINTS not in path.relative_to(self.work).parts
        }

    def drop_checkpoints(self) -> None:
        """Remove the checkpoints, which are for a stage that is not done."""
        shutil.rmtree(self.work / _CHECKPOINTS, ignore_errors=True)

    def failure(self, warn: Warn) -> dict[str, Any] | None:
        """What the newest failed attempt left; ``None`` if there is nothing, or only something unusable, which is set
        aside."""
        path = self.path / "failure.json"
        try:
            failure = read_object(path)
            if not has_texts(failure, "class", "error", "traceback_tail") or not is_number(failure.get("attempt")):
                raise Damaged("does not say what failed")
        except FileNotFoundError:
            return None
        except Damaged as damage:
            aside = set_aside(path)
            warn(f"{path} {damage}; it is kept as {aside.name}")
            return None
        return failure

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Commit: from here on the stage is done, whatever is killed."""
        commit_json(self.path / "record.json", record)
        (self.path / "failure.json").unlink(missing_ok=True)

    def write_failure(self, failure: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "failure.json", failure)

    def _check(self, record: Mapping[str, Any], *, contents: bool) -> None:
        """Raises ``Damaged``."""
        result, files, provenance = record.get("result"), record.get("files", {}), record.get("provenance", {})
        if not isinstance(result, dict) or not are_numbers(result.get("metrics", {})):
            raise Damaged("has no result")
        if (record.get("kind"), record.get("key")) != (self.kind, self.key):
            raise Damaged(f"is the record of {record.get('kind')}/{record.get('key')}")
        if not isinstance(provenance, dict) or not is_number(provenance.get("seconds", 0)):
            raise Damaged("does not say who made it")
        if not isinstance(files, dict):
            raise Damaged("does not list its files")
        if not self.work.is_dir():
            raise Damaged("has lost its work folder")
        for name, known in files.items():
            known = known if isinstance(known, dict) else {"bytes": known}  # older records only have sizes
            try:
                size = (self.work / name).stat().st_size
            except (OSError, ValueError):  # ValueError: not a valid name of a file
                raise Damaged(f"has lost work/{name}") from None
            if size != known.get("bytes"):
                raise Damaged(f"has {size} of {known.get('bytes')} bytes of work/{name}")
            if contents and "crc32" in known and f"{checksum(self.work / name):08x}" != known["crc32"]:
                raise Damaged(f"names work/{name}, whose content is not what was written")


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make sure that the store can be written. Raises ``StoreError``."""
        probe = self.root / f".probe-{os.getpid()}"
        with store_errors(self.root):
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # below /proc and its like
                raise StoreError(
                    f"{self.root}: no folder can be created there; name another with --store or ABLATE_STORE"
                ) from error
            probe.write_bytes(b"x")
            probe.unlink()

    def identity(self) -> str:
        """A text that tells this store from any other, whatever machine and path it is seen from. Raises
        ``OSError``."""
        path = self.root / "identity"
        if not path.exists():
            mine = secrets.token_hex(8)
            draft = path.with_name(f".identity-{mine}")
            draft.write_text(mine)
            with suppress(FileExistsError):  # another process was first
                os.link(draft, path)
            draft.unlink()
        return path.read_text()

    def stage(self, kind: str, key: str) -> StageFolder:
        return StageFolder(kind=kind, key=key, path=self.root / kind / key)

    def sweep(self, name: str) -> Path:
        return self.root / "sweeps" / name


class Damaged(Exception):
    """A file of the store does not hold what it must; the message says what is wrong with it."""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ``FileNotFoundError``, and ``Damaged`` where something else is there."""
    try:
        value = json.loads(path.read_bytes())
    except IsADirectoryError:
        raise Damaged("is a folder") from None
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested too deeply
        raise Damaged(f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise Damaged("is not a JSON object")
    return value


def object_in(path: Path) -> dict[str, Any] | None:
    """A JSON object; ``None`` if there is none, for a file that one can do without."""
    try:
        return read_object(path)
    except (FileNotFoundError, Damaged):
        return None


def has_texts(value: Any, *names: str) -> bool:
    """Whether ``value`` is an object that has texts under these names."""
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names)


def are_numbers(values: Any) -> bool:
    """Whether this is a mapping of names to numbers."""
    return isinstance(values, dict) and all(is_number(value) for value in values.values())


def is_number(value: Any) -> bool:
    """Whether a value from a file is a finite number that arithmetic takes."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def commit_json(path: Path, value: Mapping[str, Any]) -> None:
    """``write_json``, flushed to disk when this returns: a power cut leaves either what was there before, or this."""
    with _draft(path) as file:
        file.write(_json_text(value))
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """``write_text`` of a value as readable JSON. Raises ``ValueError`` for numbers that are not finite."""
    write_text(path, _json_text(value))


def write_text(path: Path, text: str) -> None:
    """Replace a file that can be made again: a reader, even after a kill, finds either the old one or the new one."""
    with _draft(path) as file:
        file.write(text)


def write_changed(path: Path, text: str) -> None:
    """``write_text`` unless the content is equal: the file's time tells when it changed."""
    with suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_text(path, text)


@contextmanager
def _draft(path: Path) -> Iterator[TextIO]:
    """A file that gets the name ``path`` at the end. One writer at a time: the folder's lease is held."""
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        yield file
    os.replace(unfinished, path)


def _json_text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def set_aside(path: Path) -> Path:
    """Rename a damaged file to the first free ``<name>.corrupt-<n>``."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    with suppress(FileNotFoundError):  # somebody else was quicker
        os.replace(path, aside)
    return aside


@contextmanager
def store_errors(root: Path) -> Iterator[None]:
    """Turn what the operating system says about a full, read-only or absent disk into a ``StoreError``."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*STORE_FAULTS, *_IN_THE_WAY):
            raise
        raise _store_error(root, error) from error


def _store_error(root: Path, error: OSError) -> StoreError:
    where = error.filename or f"{root}, or where the output goes"  # a write that fails does not say to which file
    if error.errno in _FULL:
        remedy = "free some space there, or move the store to another disk and name it with --store"
    elif error.errno in _DENIED:
        remedy = "make it writable for you, or name another store with --store or ABLATE_STORE"
    elif error.errno in _IN_THE_WAY:
        remedy = "a file is in the way of a folder; name another store with --store or ABLATE_STORE"
    else:
        remedy = "check the disk or the network share"
    return StoreError(
        f"{where}: {error.strerror or error}; {remedy}, then run the same command again: finished work is kept"
    )
