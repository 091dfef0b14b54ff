"""What a report reads of one trial, as one file: its records, its items' scores, its first questions, its losses.

Names in the archive are paths in a store, so that unpacking the archives of a sweep into an empty folder gives a store
to make the report from. Weights are not in it, nor predictions other than those that a report shows.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAME = "records.zip"

_MEMBER = re.compile(
    r"sweeps/\w[\w.-]*/trials/[0-9a-f]+/record\.json|[a-z]+/[0-9a-f]+/record\.json"
    r"|evaluate/[0-9a-f]+/work/(item_scores\.npz|predictions\.jsonl|questions\.jsonl)|pretrain/[0-9a-f]+/work/spool\.jsonl"
)
_MOST_BYTES = 2**30
"""Most bytes of an unpacked archive: a larger one is no trial's."""


class BadArchive(ValueError):
    """An archive that is damaged, or was not made by ``pack``."""


def pack(folder: Path, store: Path, trial: Mapping[str, Any], predictions: str) -> bytes:
    """The archive of a trial of the sweep at ``folder``; equal files give equal bytes. Files that are missing are left
    out. ``trial`` is its entry in the plan, ``predictions`` the lines to keep of its answers."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in _files(folder, store, trial):
            if path.is_file():
                archive.writestr(_dated(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
        if predictions:
            name = f"evaluate/{trial['key']}/work/predictions.jsonl"
            archive.writestr(_dated(name), predictions, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def sources(folder: Path, store: Path, trial: Mapping[str, Any]) -> dict[str, Path]:
    """The files, by their names in the archive, from which ``pack`` makes it; those that are missing as well."""
    predictions = f"evaluate/{trial['key']}/work/predictions.jsonl"
    return {**dict(_files(folder, store, trial)), predictions: store / predictions}


def unpack(content: bytes, store: Path) -> None:
    """Write an archive's files into a store. Raises ``BadArchive``, in which case nothing was written."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            odd = next((member.filename for member in members if not _MEMBER.fullmatch(member.filename)), None)
            if odd is not None:
                raise BadArchive(f"holds {odd!r}, which no trial's records have")
            if sum(member.file_size for member in members) > _MOST_BYTES:
                raise BadArchive("is larger than any trial's records")
            files = {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise BadArchive(f"is damaged ({error})") from error
    for name, data in files.items():
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _files(folder: Path, store: Path, trial: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    key = trial["key"]
    yield f"sweeps/{folder.name}/trials/{key}/record.json", folder / "trials" / key / "record.json"
    for stage in trial["stages"]:
        name = f"{stage['kind']}/{stage['key']}"
        yield f"{name}/record.json", store / name / "record.json"
        if stage["kind"] == "pretrain":
            yield f"{name}/work/spool.jsonl", store / name / "work" / "spool.jsonl"
    for file in ("item_scores.npz", "questions.jsonl"):
        name = f"evaluate/{key}/work/{file}"
        yield name, store / name


def _dated(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
