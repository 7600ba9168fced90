"""The processes of a run: one, or several that `accelerate launch` or `torchrun` starts, each with its own device."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn

from sensedict.errors import SenseDictError

T = TypeVar("T")

# While the first process makes a cache, or one waits for a service, the others wait for it; that one of them has ended
# is for the launcher to see, which then ends all.
_LONGEST_WAIT = timedelta(days=2)


class Ranks:
    """This process among those of a run.

    Attributes:
        index: from 0; count: processes.
        sharded: each holds a part of every layer (FSDP); else each holds all of them (DDP).
    """

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedType, InitProcessGroupKwargs

        # "no": the teacher's dtype decides what is mixed, not what a machine's accelerate was configured for.
        self._accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
        )
        self._device = device
        if torch.distributed.is_initialized():
            # Before Python takes modules down: threads of a group left to that may abort the process (gloo's do).
            # Not a method of the accelerator, which would keep each run's student to the end of the process.
            atexit.register(_end_group)
        self.index: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        wanted = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"  # `accelerate launch --use_fsdp`
        self.sharded = self.count > 1 and (wanted or self._accelerator.distributed_type == DistributedType.FSDP)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every so many-th of some items, from this process's own: all of them in one process."""
        return items[self.index :: self.count]

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sums of some numbers over all processes; each must ask with as many."""
        if self.count == 1:
            return list(values)
        found: Tensor = self._accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=self._device), "sum")
        return found.tolist()

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, process after process; each must ask."""
        if self.count == 1:
            return list(items)
        parts: list[Sequence[T]] = [()] * self.count
        torch.distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def first(self, work: Callable[[], None]) -> None:
        """Do something in the first process alone, and raise in all of them what it raises of ours."""
        failure: SenseDictError | None = None
        if self.main:
            try:
                work()
            except SenseDictError as error:
                failure = error
        if self.count > 1:
            said: list[SenseDictError | None] = [failure]
            torch.distributed.broadcast_object_list(said, src=0, device=self._device)
            failure = said[0]
        if failure is not None:
            raise failure

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()

    def prepare(self, tail: nn.Module, frozen: nn.ModuleList, trained: nn.ModuleList) -> nn.Module:
        """The tail as it is trained here: its gradients are means over processes (DDP), its layers in parts (FSDP).

        Args:
            frozen: the teacher's layers; trained: the student's. Each layer is a unit of its own where they are split,
                so that none holds frozen weights beside trained ones.
        """
        if self.sharded:
            from torch.distributed.fsdp import fully_shard

            for layer in (*frozen, *trained):
                fully_shard(layer, reshard_after_forward=True)
            return tail
        prepared: nn.Module = self._accelerator.prepare_model(tail, device_placement=False)
        return prepared

    def unsynced(self, tail: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Inside, gradients stay with this process, unless this is the `last` pass of a step."""
        if last or self.sharded or self.count == 1:
            return nullcontext()
        held: AbstractContextManager[None] = self._accelerator.no_sync(tail)
        return held


def _end_group() -> None:
    """End the group of processes, unless that is done."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def whole(tensor: Tensor) -> Tensor:
    """A weight with all its parts; every process must ask for it."""
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        full: Tensor = tensor.full_tensor()
        return full
    return tensor


def split_as(tensor: Tensor, weight: Tensor) -> Tensor:
    """A tensor of a weight's shape on its device, in parts where the weight is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(weight, DTensor):
        return distribute_tensor(tensor.to(weight.device), weight.device_mesh, weight.placements)
    return tensor.to(weight.device)
