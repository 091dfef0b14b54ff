"""The identity of files: their content, whatever folder they lie in. Standard library only: sweeps are read with it."""

from collections.abc import Callable, Iterable, Sequence
from glob import glob
from hashlib import file_digest, sha256
from pathlib import Path

from mm1core.errors import ConfigError


def expand(paths: Iterable[str], *, key: str) -> list[Path]:
    """The files that paths and glob patterns (``**`` included) name, each once, in the order of their names.

    Raises ``ConfigError`` at ``key`` for a pattern that names no file, or a folder.
    """
    found: dict[Path, None] = {}
    for pattern in paths:
        path = Path(pattern).expanduser()
        if path.is_dir():
            raise ConfigError(key, f"{pattern} is a folder; name its files, such as {path / '*.tar'}")
        matches = [path] if path.is_file() else [Path(name) for name in glob(str(path), recursive=True)]
        files = [match.resolve() for match in matches if match.is_file()]
        if not files:
            folder = path.parent
            where = (
                f"the folder {folder} holds {sum(1 for _ in folder.iterdir())} entries, none of that name"
                if folder.is_dir()
                else f"there is no folder {folder}"
            )
            raise ConfigError(key, f"{pattern} matches no file ({where}); correct the path")
        found.update(dict.fromkeys(files))
    return sorted(found, key=lambda path: (path.name, path))


def digest(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def combine(digests: Sequence[str]) -> str:
    """One digest for several files in the given order."""
    return sha256("\n".join(digests).encode()).hexdigest()


def in_order(digests: Iterable[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Files in canonical order: by base name, then by content, so that folders make no difference."""
    return sorted(digests, key=lambda pair: (pair[0].name, pair[1], pair[0]))


def fingerprint(paths: Iterable[str], *, key: str, digest_of: Callable[[Path], str] = digest) -> str:
    """The digest of all files that ``paths`` name. ``digest_of`` may be a cached form of ``digest``."""
    files = in_order((path, digest_of(path)) for path in expand(paths, key=key))
    return combine([content for _, content in files])
