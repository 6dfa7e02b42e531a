"""How a batch is shared out, over processes and over parts that fit the memory, without changing a result.

Everything random is drawn for the whole batch, and each share takes its rows. The discriminator compares images in
groups (minibatch standard deviation), so a share consists of whole groups, in the order in which they are groups again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import UsageError
from model.networks.layers import stddev_group


@dataclass(frozen=True)
class Share:
    """Some images of a batch."""

    rows: Tensor  # [n] their positions in the batch
    total: int  # images of the whole batch

    @property
    def weight(self) -> float:
        """Share of the batch: what a mean over these images counts in the mean over the batch."""
        return len(self.rows) / self.total

    def take(self, values: Tensor) -> Tensor:
        """Return this share's rows of ``values [total, ...]``, or ``values`` itself where the share is all of it."""
        return values if len(self.rows) == self.total else values[self.rows.to(values.device)]


def grouped_shares(batch: int, parts: int) -> list[Share]:
    """Split a batch into equal shares of whole discriminator groups.

    Raises: UsageError if the groups cannot be shared out equally.
    """
    groups = batch // stddev_group(batch)
    if groups % parts:
        possible = [k for k in range(1, groups + 1) if groups % k == 0]
        raise UsageError(
            f"train.batch: {batch} images are {groups} groups of {batch // groups} that the discriminator compares, "
            f"which {parts} parts (train.gpus x train.accumulate) cannot share equally; expected a number of parts "
            f"among {possible}, or another batch"
        )
    positions = torch.arange(batch).reshape(-1, groups)  # image i belongs to group i mod groups
    return [Share(columns.flatten(), batch) for columns in positions.chunk(parts, dim=1)]


def plain_shares(batch: int, parts: int) -> list[Share]:
    """Split a batch that only the generator sees into nearly equal shares.

    Raises: UsageError if there are fewer images than parts.
    """
    if batch < parts:
        raise UsageError(
            f"train.path_shrink: a path-length step of {batch} images cannot be shared by {parts} parts "
            f"(train.gpus x train.accumulate); lower train.path_shrink or raise train.batch"
        )
    return [Share(torch.arange(part, batch, parts), batch) for part in range(parts)]
