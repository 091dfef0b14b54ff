"""Tiny file sources in the real formats, written by the tests: tar shards as img2dataset lays them out, JSON lines."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, *, side: int = 8, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """An encoded image that differs by ``number``."""
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], *, format: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pairs(numbers: Iterable[int], **picture_options: object) -> list[tuple[str, bytes]]:
    """Members of samples with a caption, the number in nine digits as key: ``a thing called <number>``."""
    members = []
    for number in numbers:
        members.append((f"{number:09d}.png", picture(number, **picture_options)))  # type: ignore[arg-type]
        members.append((f"{number:09d}.txt", caption(number).encode()))
        members.append((f"{number:09d}.json", json.dumps({"caption": caption(number), "n": number % 3}).encode()))
    return members


def caption(number: int) -> str:
    return f"a thing called {number}"


def write_lines(path: Path, lines: Iterable[Mapping[str, object] | bytes]) -> Path:
    encoded = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path
