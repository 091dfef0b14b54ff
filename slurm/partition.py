"""What SLURM says about its partitions and their nodes. The parsers are pure, and skip lines that they do not
understand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

PARTITIONS = ("scontrol", "--all", "--oneliner", "show", "partition")
"""The command whose output ``parse_partitions`` reads."""
_OUT_OF_SERVICE = ("drain", "down", "fail", "maint", "unknown", "reboot", "no_respond")


@dataclass(frozen=True, kw_only=True)
class Partition:
    name: str
    default: bool
    """Whether jobs that name no partition go here."""
    state: str
    """``UP``, or why it takes or starts no jobs."""
    longest: int | None
    """Most seconds that a job may ask for; ``None`` for no limit."""


@dataclass(frozen=True, kw_only=True)
class Node:
    name: str
    state: str
    """SLURM's words, such as ``idle`` or ``drained``."""
    gpus: Mapping[str, int]
    """GPUs by type; those without a type under the empty text."""

    @property
    def in_service(self) -> bool:
        return not (self.state.startswith(_OUT_OF_SERVICE) or self.state.endswith("*"))


def nodes_of(partitions: str) -> tuple[str, ...]:
    """The command whose output ``parse_nodes`` reads; names as in ``--partition``."""
    return ("sinfo", "--noheader", "--Node", f"--partition={partitions}", "--Format=NodeList:|,Gres:|,StateLong:|")


def parse_partitions(text: str) -> list[Partition]:
    found = []
    for line in text.splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" in words:
            longest = words.get("MaxTime", "UNLIMITED")
            found.append(
                Partition(
                    name=words["PartitionName"],
                    default=words.get("Default") == "YES",
                    state=words.get("State", "UP"),
                    longest=None if longest == "UNLIMITED" else seconds(longest),
                )
            )
    return found


def parse_nodes(text: str) -> list[Node]:
    found = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 4:  # a node of several partitions has several lines
            found[fields[0]] = Node(name=fields[0], state=fields[2].lower(), gpus=_gpus(fields[1]))
    return list(found.values())


def _gpus(resources: str) -> dict[str, int]:
    """The GPUs by type, in a text such as ``gpu:a100:4(S:0-1),gpu:2,shard:8``."""
    found: dict[str, int] = {}
    for one in re.sub(r"\([^)]*\)", "", resources).split(","):
        if match := re.fullmatch(r"gpu(?::([^:]+))??(?::no_consume)?:(\d+)", one):
            kind = match[1] or ""
            found[kind] = found.get(kind, 0) + int(match[2])
    return found


def seconds(time: str) -> int | None:
    """Seconds in a time such as ``4:00:00`` or ``1-00:00:00``; ``None`` for what is neither."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", time)
    if found is None:
        return None
    days, hours, minutes, rest = (int(number or 0) for number in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest
