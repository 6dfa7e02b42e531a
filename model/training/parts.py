"""Small parts of the training loop: running sums of a tick, the optimiser, one step down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from model.training.shares import Share
from model.training.world import World

Losses = Callable[[int, Share], Iterator[Tensor]]  # (number of the share, share) -> scalars, means over the share


class Means:
    """Sums of detached scalars, read once per tick so that a step never waits for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one value of a quantity."""
        value = value.detach().double()
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0) + 1

    def finite(self) -> bool:
        """Say whether every sum is a number: one that is not stays so, so looking now and then misses nothing."""
        return not self.sums or bool(torch.stack(list(self.sums.values())).isfinite().all())

    def gather(self, world: World) -> dict[str, float]:
        """Return the means over all processes since the last call, and start over."""
        self.fold(world, keep=True)
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def fold(self, world: World, *, keep: bool = False) -> None:
        """Add up the sums of all processes in the first one; the others go on from 0 unless told to ``keep`` them."""
        if world.size == 1 or not self.sums:
            return
        names = sorted(self.sums)
        counts = torch.tensor([float(self.counts[name]) for name in names], dtype=torch.float64)
        both = torch.stack([torch.stack([self.sums[name] for name in names]), counts.to(self.sums[names[0]])])
        sums, totals = world.sum(both)
        self.sums = dict(zip(names, sums.unbind(), strict=True))
        self.counts = {name: round(count) for name, count in zip(names, totals.tolist(), strict=True)}
        if world.rank > 0 and not keep:
            self.clear()

    def clear(self) -> None:
        """Set everything to 0, keeping the names: all processes must name the same quantities."""
        self.sums = {name: torch.zeros_like(total) for name, total in self.sums.items()}
        self.counts = dict.fromkeys(self.counts, 0)


def adam(parameters: list[torch.nn.Parameter], rate: float, every: int) -> torch.optim.Adam:
    """Adam with beta1 = 0 and the lazy-regularisation correction (Karras et al. 2020, appendix B)."""
    c = every / (every + 1) if every else 1.0
    return torch.optim.Adam(parameters, lr=rate * c, betas=(0.0, 0.99**c), eps=1e-8, fused=True)


def descend(optimizer: torch.optim.Adam, shares: Sequence[Share], losses: Losses, world: World) -> None:
    """Take one step along the gradient of the batch's mean loss.

    Each loss is differentiated as soon as it is there, and its graph goes before the next one is built: memory holds
    one loss of one share. The gradients of all shares and processes add up to that of the whole batch.
    """
    optimizer.zero_grad(set_to_none=True)
    for number, share in enumerate(shares):
        for loss in losses(number, share):
            (loss * share.weight).backward()  # type: ignore[no-untyped-call]
    world.sum_gradients(p for group in optimizer.param_groups for p in group["params"])
    optimizer.step()
