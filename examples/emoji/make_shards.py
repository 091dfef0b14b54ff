"""Render the emoji of a font into image-text shards in the webdataset form, as img2dataset would download them.

Each single-codepoint emoji is drawn several times with its English name as the caption: position, size, angle and the
shade of the background differ, so that a held-out rendering of a known emoji can be asked about. The same arguments
give the same bytes. Nothing rendered belongs into version control.
"""

import argparse
import io
import json
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_SIZE = 109
"""The only size of the bitmaps in the font."""
GLYPH = 136
"""Pixels of a glyph's longer side."""

Members = dict[str, bytes]
"""Content of a sample's members by suffix."""


class Sample(NamedTuple):
    key: str
    members: Members


def main() -> None:
    options = parse()
    started = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    if old := sorted(options.out.glob("*.tar")):
        sys.exit(f"{options.out} holds {len(old)} tar files already; remove them or name another folder with --out")
    glyphs = load_glyphs(options.font, options.count, options.seed)

    order = [(name, rendering) for name in glyphs for rendering in range(options.renderings)]
    Random(f"order {options.seed}").shuffle(order)
    paths = []
    for first in range(0, len(order), options.per_shard):
        samples = [
            make_sample(first + place, name, glyphs[name], rendering, options.side, options.seed)
            for place, (name, rendering) in enumerate(order[first : first + options.per_shard])
        ]
        path = options.out / f"{len(paths):05d}.tar"
        if options.damage is not None:
            samples = list(damaged(samples, path.name, options.damage))
        write_shard(path, samples)
        paths.append(path)
    if options.damage is not None:
        truncate(paths[-1], options.damage)
    size = sum(path.stat().st_size for path in paths)
    print(
        f"{len(order)} samples of {len(glyphs)} emoji in {len(paths)} shards, {size / 1e6:.1f} MB, "
        f"{time.perf_counter() - started:.0f} s: {options.out}/*.tar"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "shards", help="folder of the shards")
    parser.add_argument("--renderings", type=int, default=8, help="pictures of each emoji (default %(default)s)")
    parser.add_argument("--count", type=int, help="use this many emoji, drawn at random (default: all)")
    parser.add_argument("--side", type=int, default=64, help="pixels of a side (default %(default)s)")
    parser.add_argument("--per-shard", type=int, default=1000, help="samples in a shard (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of what differs between renderings")
    parser.add_argument("--font", type=Path, help=f"a colour emoji font of size {FONT_SIZE} (default: found by name)")
    parser.add_argument(
        "--damage",
        type=int,
        metavar="SEED",
        help="break samples on purpose: in each shard one garbage image, missing caption, decompression bomb and "
        "invalid UTF-8, and the end of the last shard is cut off",
    )
    options = parser.parse_args()
    for name in ("renderings", "count", "side", "per_shard"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be positive")
    return options


# Glyphs


def load_glyphs(font: Path | None, count: int | None, seed: int) -> dict[str, Image.Image]:
    """Each emoji's name and its picture, cropped to what is drawn, RGBA. Emoji the font lacks are left out."""
    names = emoji_names()
    path = find_font(font)
    try:
        face = ImageFont.truetype(str(path), FONT_SIZE)
    except OSError as error:
        sys.exit(f"{path} cannot be used at size {FONT_SIZE}: {error}")
    symbols = sorted(names)
    Random(f"count {seed}").shuffle(symbols)
    glyphs: dict[str, Image.Image] = {}
    lacking = 0
    for symbol in symbols:
        if len(glyphs) == count:
            break
        if (glyph := draw(symbol, face)) is None:
            lacking += 1
        else:
            glyphs[names[symbol]] = glyph
    if not glyphs:
        sys.exit(f"{path} draws none of the {len(names)} emoji; give another font with --font")
    if lacking:
        print(f"{path.name} lacks {lacking} emoji, which are left out")
    return glyphs


def emoji_names() -> dict[str, str]:
    """English names by symbol, for emoji of one codepoint (a variation selector aside)."""
    try:
        import emoji
    except ImportError:
        sys.exit("the names come from the package emoji, which is not installed: pip install emoji")
    wanted = (emoji.STATUS["component"], emoji.STATUS["fully_qualified"])
    names = {}
    for symbol, data in emoji.EMOJI_DATA.items():
        single = symbol.replace("\ufe0f", "")
        if len(single) == 1 and data["status"] in wanted:
            names[single] = data["en"].strip(":").replace("_", " ")
    return names


def find_font(given: Path | None) -> Path:
    if given is not None and not given.is_file():
        sys.exit(f"there is no font {given}")
    if given is not None or FONT.is_file():
        return given or FONT
    try:
        found = subprocess.run(["fc-list", ":", "file"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = ""
    for line in sorted(found.splitlines()):
        path = Path(line.rstrip(": "))
        if path.name == FONT.name and path.is_file():
            return path
    sys.exit(f"the font {FONT.name} is not installed: apt-get install fonts-noto-color-emoji, or name one with --font")


def draw(symbol: str, face: ImageFont.FreeTypeFont) -> Image.Image | None:
    canvas = Image.new("RGBA", (2 * GLYPH, 2 * GLYPH))
    ImageDraw.Draw(canvas).text((GLYPH // 2, GLYPH // 2), symbol, font=face, embedded_color=True)
    box = canvas.getbbox()
    return canvas.crop(box) if box else None


# Samples


def make_sample(number: int, name: str, glyph: Image.Image, rendering: int, side: int, seed: int) -> Sample:
    """The sample with this number; ``name`` and ``rendering`` say what differs in the picture."""
    image = io.BytesIO()
    render(glyph, side, Random(f"{seed}/{name}/{rendering}")).save(image, "PNG")
    about = {"caption": name, "emoji": name, "rendering": rendering, "width": side, "height": side}
    return Sample(
        key=f"{number:09d}",
        members={
            "png": image.getvalue(),
            "txt": name.encode(),
            "json": json.dumps(about, ensure_ascii=False).encode(),
        },
    )


def render(glyph: Image.Image, side: int, random: Random) -> Image.Image:
    """The glyph at 60 to 90 % of the picture, turned by up to 12 degrees, somewhere on a plain grey background."""
    shade = random.randrange(40, 256)
    length = side * random.uniform(0.6, 0.9)
    scale = length / max(glyph.size)
    drawn = glyph.resize([max(1, round(scale * size)) for size in glyph.size], Image.Resampling.LANCZOS)
    drawn = drawn.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
    canvas = Image.new("RGBA", (side, side), (shade, shade, shade, 255))
    left, top = (random.randint(*sorted((0, side - size))) for size in drawn.size)
    layer = Image.new("RGBA", (side, side))
    layer.paste(drawn, (left, top))
    return Image.alpha_composite(canvas, layer).convert("RGB")


def write_shard(path: Path, samples: list[Sample]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in samples:
            for suffix, content in sample.members.items():
                info = tarfile.TarInfo(f"{sample.key}.{suffix}")  # its time is 0, so equal runs give equal bytes
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


# Damage on purpose


def damaged(samples: list[Sample], shard: str, seed: int) -> Iterator[Sample]:
    """The samples, one each of four kinds broken."""
    random = Random(f"damage {seed} {shard}")
    faults = ("garbage image", "missing caption", "decompression bomb", "invalid UTF-8")
    broken = dict(zip(random.sample(range(len(samples)), min(len(faults), len(samples))), faults, strict=False))
    for number, sample in enumerate(samples):
        if number in broken:
            print(f"{shard} {sample.key}: {broken[number]}")
            sample = Sample(key=sample.key, members=break_members(sample.members, broken[number], random))
        yield sample


def break_members(members: Members, fault: str, random: Random) -> Members:
    match fault:
        case "garbage image":
            return {**members, "png": random.randbytes(len(members["png"]))}
        case "missing caption":
            return {"png": members["png"]}
        case "decompression bomb":
            return {**members, "png": bomb(60_000)}
        case _:
            return {**members, "txt": b"caf\xe9"}


def bomb(side: int) -> bytes:
    """A small PNG whose header promises ``side`` x ``side`` pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(100_000)),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )


def truncate(path: Path, seed: int) -> None:
    size = path.stat().st_size
    kept = int(size * Random(f"cut {seed}").uniform(0.5, 0.95))
    with path.open("r+b") as file:
        file.truncate(kept)
    print(f"{path.name}: cut at byte {kept} of {size}")


if __name__ == "__main__":
    main()
