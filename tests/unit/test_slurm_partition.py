"""What SLURM says of partitions and nodes, read from recorded output and from lines of clusters that are larger."""

from pathlib import Path

import pytest

from slurm.partition import Node, Partition, parse_nodes, parse_partitions, seconds

RECORDED = Path(__file__).parents[1] / "data" / "slurm"


def test_partitions():
    assert parse_partitions((RECORDED / "partitions.txt").read_text()) == [
        Partition(name="low", default=True, state="UP", longest=None),
        Partition(name="lowg", default=False, state="UP", longest=600),
        Partition(name="high", default=False, state="INACTIVE", longest=None),
    ]
    assert parse_partitions("") == parse_partitions("Partition nope not found") == []


def test_a_node_of_several_partitions_is_one_node():
    (node,) = parse_nodes((RECORDED / "nodes.txt").read_text())
    assert node == Node(name="n1", state="drained", gpus={"a100": 2, "v100": 1})
    assert not node.in_service


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:2(S:0,3),gpu:a100:2(S:1),shard:8", {"a100": 4}),
        ("gpu:h100_nvl:no_consume:8,nic:2", {"h100_nvl": 8}),
        ("craynetwork:4,gpu:2", {"": 2}),
    ],
)
def test_gpus_by_type(resources, gpus):
    (node,) = parse_nodes(f"n1|{resources}|mixed|\nsinfo: something else\n")
    assert node.gpus == gpus
    assert node.in_service


@pytest.mark.parametrize("state", ["drained", "draining", "down", "idle*", "down*", "maint", "reboot"])
def test_nodes_that_take_no_jobs(state):
    assert not parse_nodes(f"n1|gpu:1|{state}|")[0].in_service


@pytest.mark.parametrize(
    ("text", "number"), [("0:01:30", 90), ("4:00:00", 14400), ("2-00:00:00", 172800), ("UNLIMITED", None), ("30", None)]
)
def test_times(text, number):
    assert seconds(text) == number
