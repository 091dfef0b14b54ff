"""The folder of a sweep in the store, found by what a user calls it."""

import sys
from pathlib import Path
from typing import Any

from ablations.errors import BadInput, nearest
from ablations.store import object_in


def sweep_folder(sweep: str, store: Path) -> Path:
    """``store/sweeps/<name>``, given a sweep's name or its file. Raises ``BadInput`` where there is none."""
    name = sweep_name(sweep)
    folder = store / "sweeps" / name
    if (folder / "plan.json").is_file():
        if name != sweep:
            _warn_if_changed(Path(sweep), folder / "sweep.yaml")
        return folder
    known = sorted(path.parent.name for path in (store / "sweeps").glob("*/plan.json"))
    close = nearest(name, known)
    raise BadInput(
        f"{sweep}: no sweep of this name in {store / 'sweeps'}; there "
        + (f"are: {', '.join(known)}" if known else "is none yet: `ablate run SWEEP.yaml` creates one")
        + (f"; did you mean {close!r}?" if close else "")
    )


def sweep_name(sweep: str) -> str:
    """A sweep's name, given directly or by its file."""
    if Path(sweep).suffix in (".yaml", ".yml") and Path(sweep).is_file():
        return _name_in(Path(sweep))
    return sweep


def sweep_folders(sweep: str | None, store: Path) -> list[Path]:
    """The folder of one sweep, or of all sweeps of the store for ``None``. Raises ``BadInput`` if there is none."""
    if sweep is not None:
        return [sweep_folder(sweep, store)]
    folders = sorted(path.parent for path in (store / "sweeps").glob("*/plan.json"))
    if not folders:
        raise BadInput(f"there is no sweep in {store / 'sweeps'} yet: `ablate run SWEEP.yaml` creates one")
    return folders


def submission_of(folder: Path) -> dict[str, Any] | None:
    """What ``submitted.json`` says; ``None`` for a sweep that was not submitted."""
    return object_in(folder / "submitted.json")


def _warn_if_changed(file: Path, copy: Path) -> None:
    """What the store has is of the sweep as it was run, and the file may say something else by now."""
    if copy.is_file() and file.read_bytes() != copy.read_bytes():
        print(f"{file} has changed since it was last run: this is about the sweep as it is in {copy}", file=sys.stderr)


def _name_in(path: Path) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise BadInput(f"{path}: not YAML: {error}") from None
    name = content.get("name") if isinstance(content, dict) else None
    return str(name) if name else path.stem
