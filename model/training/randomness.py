"""Counter-based randomness: a stream is a pure function of (seed, purpose, index).

Worker count, batch order and resuming never change a number, and nothing about random generators needs saving.
"""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, purpose: str, index: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator for one use.

    Args:
        seed: the run's seed.
        purpose: what the numbers are for; different purposes are independent.
        index: iteration, image or epoch.
        device: where the numbers are drawn; another kind of device draws other numbers.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest, "little") >> 1)


def latents(seed: int, purpose: str, first: int, count: int, z_dim: int) -> torch.Tensor:
    """Return z of images ``first .. first + count - 1``, ``[count, z_dim]``: the same rows whatever the batch."""
    rows = [torch.randn(z_dim, generator=stream(seed, purpose, index)) for index in range(first, first + count)]
    return torch.stack(rows)
