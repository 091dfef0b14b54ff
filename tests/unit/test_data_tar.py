"""Tar files that were damaged, or made to do harm: what lies before the damage is read, and nothing is raised."""

import io
import random
import tarfile
from pathlib import Path

import pytest

from mm1core.data.tar import BLOCK, Damage, Member, read_members

NAMES = [f"{number:04d}.{suffix}" for number in range(6) for suffix in ("png", "txt")]
LONG = [f"{number:04d}{'x' * 200}.{suffix}" for number in range(3) for suffix in ("png", "txt")]


def archive(names: list[str], *, format: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 300 * number
            tar.addfile(info, io.BytesIO(random.Random(number).randbytes(info.size)))
    return file.getvalue()


def read(path: Path, content: bytes) -> list[Member | Damage]:
    path.write_bytes(content)
    return list(read_members(path))


def member_end(member: Member) -> int:
    return member.offset + -(-member.size // BLOCK) * BLOCK


def mutate(content: bytes, dice: random.Random) -> tuple[bytes, int]:
    """The content with damage of some kind, and where that begins."""
    place = dice.randrange(len(content))
    piece = dice.choice([dice.randbytes(dice.randrange(1, 2000)), b"9" * dice.randrange(1, 6000), bytes(700)])
    match dice.randrange(5):
        case 0:
            changed = bytearray(content)
            changed[place] ^= 1 << dice.randrange(8)
            return bytes(changed), place
        case 1:
            return content[:place], place
        case 2:
            return content[:place] + piece + content[place:], place
        case 3:
            return content[:place] + piece + content[place + len(piece) :], place
        case _:  # whole blocks are lost, or come twice
            block = place // BLOCK * BLOCK
            back = dice.randrange(-4, 5) * BLOCK
            return content[:block] + content[max(0, block + back) :], block


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_damage_nothing_is_raised_and_what_lies_before_it_is_read(tmp_path, seed):
    dice = random.Random(seed)
    kinds = [
        archive(NAMES),
        archive(LONG, format=tarfile.GNU_FORMAT),
        archive(LONG, format=tarfile.PAX_FORMAT),
        b"".join(pax(f"21 path={number:010d}.t\n".encode()) for number in range(5)) + bytes(2 * BLOCK),
    ]
    whole = [read(tmp_path / "a.tar", content) for content in kinds]
    assert all(isinstance(found, Member) for members in whole for found in members)
    assert [len(members) for members in whole] == [12, 6, 6, 5]
    for _ in range(250):
        number = dice.randrange(len(kinds))
        content, place = mutate(kinds[number], dice)
        before = [found for found in whole[number] if member_end(found) <= place]
        assert read(tmp_path / "a.tar", content)[: len(before)] == before


def pax(records: bytes) -> bytes:
    """A pax header, and after it the member ``a.txt``: three bytes."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    member = tarfile.TarInfo("a.txt")
    member.size = 3
    blocks = header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % BLOCK)
    return blocks + member.tobuf(tarfile.USTAR_FORMAT) + b"abc" + bytes(BLOCK - 3)


def test_a_pax_header_names_its_member(tmp_path):
    content = pax(b"14 path=b.png\n") + bytes(2 * BLOCK)
    assert read(tmp_path / "a.tar", content) == [Member(name="b.png", offset=3 * BLOCK, size=3, whole=True)]


@pytest.mark.parametrize(
    "records",
    [
        b"5020 size=" + b"9" * 5009 + b"\n",
        b"9" * 5000 + b" path=b.png\n",
        b"11 size=x\n\n",
        b"99 path=b.png\n",
        b"13 path=b.png\n",
        b"3 path=b.png\n",
        b"path=b.png\n",
    ],
)
def test_a_damaged_pax_header_is_damage_and_its_member_keeps_its_own_name(tmp_path, records):
    content = pax(records) + bytes(2 * BLOCK)
    data = len(content) - 3 * BLOCK
    assert read(tmp_path / "a.tar", content) == [
        Damage(start=0, end=data - BLOCK),
        Member(name="a.txt", offset=data, size=3, whole=True),
    ]
