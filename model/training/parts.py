"""Small parts of the training loop: running sums of a tick, the optimiser, one step down."""

from __future__ import annotations

import torch
from torch import Tensor


class Means:
    """Sums of detached scalars, read once per tick so that a step never waits for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, float | Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one value of a quantity."""
        self.sums[name] = self.sums.get(name, 0.0) + value.detach().double()
        self.counts[name] = self.counts.get(name, 0) + 1

    def take(self, name: str) -> float:
        """Return the mean since the last call, 0 if there was none, and start over."""
        total, count = self.sums.pop(name, 0.0), self.counts.pop(name, 0)
        return float(total) / count if count else 0.0


def adam(parameters: list[torch.nn.Parameter], rate: float, every: int) -> torch.optim.Adam:
    """Adam with beta1 = 0 and the lazy-regularisation correction (Karras et al. 2020, appendix B)."""
    c = every / (every + 1) if every else 1.0
    return torch.optim.Adam(parameters, lr=rate * c, betas=(0.0, 0.99**c), eps=1e-8, fused=True)


def descend(optimizer: torch.optim.Adam, loss: Tensor) -> None:
    """Take one step along the gradient of ``loss``."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
