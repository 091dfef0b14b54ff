"""The data files a sweep names: their absolute paths and the digest of their content, which is their identity.

Files are read only if their digest is not known yet; a cache in the store keeps it by path, size and modification time.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from glob import escape
from pathlib import Path

from ablations.errors import Problem
from ablations.sweep import Axis, Setting
from mm1core.config import FilesConfig
from mm1core.data.fingerprint import digest, fingerprint
from mm1core.errors import ConfigError

Digest = Callable[[Path], str]


def with_fingerprints(
    settings: Mapping[str, Setting], digest_of: Digest, problems: list[Problem]
) -> dict[str, Setting]:
    """Settings with the fingerprints of the files they name; paths are relative to the YAML file that names them."""
    filled = dict(settings)
    for key, setting in settings.items():
        folder = setting.document.file.resolve().parent
        try:
            if key == "data.sources":
                sources = {
                    name: _fingerprinted(files, f"{key}.{name}.paths", folder, digest_of)
                    for name, files in setting.value.items()
                }
                filled[key] = replace(setting, value=sources)
            elif key == "data.tokenizer.path" and setting.value is not None:
                path = str(folder / Path(setting.value).expanduser())
                filled[key] = replace(setting, value=path)
                content = fingerprint([path], key=key, digest_of=digest_of)
                filled["data.tokenizer.fingerprint"] = replace(setting, value=content)
        except ConfigError as error:
            rest = tuple(part for part in error.key.removeprefix(key).split(".") if part)
            problems.append(replace(setting, path=(*setting.path, *rest)).problem(error.problem))
        except OSError as error:
            problems.append(setting.problem(f"{error.filename} cannot be read: {error.strerror}"))
    return filled


def _fingerprinted(files: FilesConfig, key: str, folder: Path, digest_of: Digest) -> FilesConfig:
    paths = tuple(_absolute(path, folder) for path in files.paths)
    return replace(files, paths=paths, fingerprint=fingerprint(paths, key=key, digest_of=digest_of))


def _absolute(pattern: str, folder: Path) -> str:
    """A pattern that means the same from any folder; special characters in the folder's own name are escaped."""
    path = Path(pattern).expanduser()
    return str(path if path.is_absolute() else Path(escape(str(folder))) / path)


def axis_with_fingerprints(axis: Axis, digest_of: Digest, problems: list[Problem]) -> Axis:
    values = tuple(replace(value, set=with_fingerprints(value.set, digest_of, problems)) for value in axis.values)
    return replace(axis, values=values)


class RememberedDigests:
    """Digests of files by (path, size, modification time), kept in ``store/digests.json``."""

    def __init__(self, store: Path) -> None:
        self._path = store / "digests.json"
        self._known = self._load()
        self._new = False

    def __call__(self, file: Path) -> str:
        state = os.stat(file)
        place = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
        if place not in self._known:
            self._known[place] = digest(file)
            self._new = True
        return self._known[place]

    def save(self) -> None:
        """Keep what was computed. If the store cannot be written, the files only have to be read again."""
        if not self._new:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
            unfinished.write_text(json.dumps(self._known, indent=1, sort_keys=True), encoding="utf-8")
            os.replace(unfinished, self._path)
        except OSError:
            return

    def _load(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
