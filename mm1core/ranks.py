"""The processes that train one model together, as given by the variables that torchrun and ``slurm.task`` set.

Every process has its share of each step's rows, and all weights unless they are sharded (``sharding``); gradients are
summed, never averaged, so that a step is the same on any number of processes. Only rank 0 writes. Messages about the
run (whether to stop, counts) go over the CPU, gradients over the devices they are on.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as distributed
from torch import nn

_PATIENCE = timedelta(days=7)
"""Longest wait for each other: rank 0 may work alone for a long time. A process that dies is noticed at once."""
_BUCKET = 1 << 25
"""Bytes of gradients that are sent together."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together. With a count of one nothing is sent."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The elementwise sum over all processes, the same in each."""
        if self.count > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def anybody(self, reason: str | None) -> str | None:
        """The reason of the first process that has one."""
        if self.count == 1:
            return reason
        reasons: list[str | None] = [None] * self.count
        distributed.all_gather_object(reasons, reason)
        return next((one for one in reasons if one is not None), None)

    def tell(self, value: str) -> str:
        """The value that rank 0 gives, in every process."""
        if self.count == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        return said[0]

    def wait(self) -> None:
        """Wait until all processes have arrived."""
        self.tell("")

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes. One that no process has stays ``None``."""
        if self.count == 1:
            return
        have = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        distributed.all_reduce(have, op=distributed.ReduceOp.MAX)
        needed = [parameter for parameter, there in zip(parameters, have.tolist(), strict=True) if there]
        for bucket in _buckets(needed):
            gradients = [
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in bucket
            ]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(flat)
            sizes = [gradient.numel() for gradient in gradients]
            for parameter, summed in zip(bucket, flat.split(sizes), strict=True):
                parameter.grad = summed.view_as(parameter)


ALONE = Ranks()


def current() -> Ranks:
    """This process, in the group that ``joined`` made."""
    if not distributed.is_initialized():
        return ALONE
    return Ranks(index=distributed.get_rank(), count=distributed.get_world_size())


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process, where several share a node."""
    if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other processes, if ``WORLD_SIZE`` says that there are any, at ``MASTER_ADDR`` and ``MASTER_PORT``."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield current()
    finally:
        distributed.destroy_process_group()


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Buckets of parameters of equal type and device, in order."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        like = bucket and (bucket[0].dtype, bucket[0].device) == (parameter.dtype, parameter.device)
        if bucket and (not like or size >= _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel() * parameter.element_size()
    if bucket:
        yield bucket
