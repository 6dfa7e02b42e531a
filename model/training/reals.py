"""Which real images a batch shows: seeded permutations of the dataset, each image mirrored with probability 1/2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from model.errors import BudgetError
from model.training.shares import Share

Streams = Callable[[str, int], torch.Generator]  # (purpose, index) -> generator on the CPU


class Images(Protocol):
    """Training images."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return ``[len(indices), 3, R, R]`` in [-1, 1]."""
        ...

    def prefetch(self, indices: Sequence[int]) -> None:
        """Take a hint: these will be asked for next."""
        ...


class Reals:
    """Real images by iteration: a pure function of the streams, whatever was asked for before.

    Raises: BudgetError if there are fewer images than one batch.
    """

    def __init__(self, images: Images, batch: int, streams: Streams) -> None:
        if len(images) < batch:
            raise BudgetError(
                f"train.batch: {batch} images, but the dataset has {len(images)}; lower train.batch or add images"
            )
        self.images, self.size, self.streams = images, batch, streams
        self._permutation: tuple[int, list[int]] = (-1, [])

    def forget(self) -> None:
        """Draw the current permutation anew: the streams have changed."""
        self._permutation = (-1, [])

    def picks(self, iteration: int) -> list[int]:
        """Return the numbers of the images of a whole batch."""
        n, found = len(self.images), []
        for position in range(iteration * self.size, (iteration + 1) * self.size):
            epoch = position // n
            if self._permutation[0] != epoch:
                self._permutation = (epoch, torch.randperm(n, generator=self.streams("data", epoch)).tolist())
            found.append(self._permutation[1][position % n])
        return found

    def batch(self, iteration: int, shares: Sequence[Share], like: Tensor) -> list[Tensor]:
        """Return the images of each share, ``[n, 3, R, R]`` in [-1, 1], with the dtype and device of ``like``."""
        rows = [row for share in shares for row in share.rows.tolist()]
        mirrored = torch.rand(self.size, generator=self.streams("mirror", iteration))[rows] < 0.5
        picked = self.picks(iteration)
        reals = self.images.batch([picked[row] for row in rows]).to(like)
        following = self.picks(iteration + 1)
        self.images.prefetch([following[row] for row in rows])
        reals = torch.where(mirrored.to(like.device)[:, None, None, None], reals.flip(3), reals)
        return list(torch.split(reals, [len(share.rows) for share in shares]))
