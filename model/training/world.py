"""The processes that train together, one per GPU: what each adds up with the others.

Gradients are summed by hand instead of through ``DistributedDataParallel``: R1 and path length differentiate twice and
run other parts of the networks than the main step, and frozen parameters have no gradient at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among ``size``; alone, every method returns what it was given."""

    rank: int = 0
    size: int = 1

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` (any shape) over all processes, which must all call."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    def any(self, flag: bool, device: torch.device) -> bool:
        """Say whether ``flag`` is set in any process; all must call."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over all processes, in one message per dtype."""
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:  # none here is none everywhere: all processes run the same graph
                by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_dtype.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


ALONE = World()
