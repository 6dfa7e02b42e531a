"""What a training is told and what it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.errors import UsageError


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training; they stand in params.yaml."""

    kimg: float  # thousands of real images shown to D in total
    batch: int  # images, over all processes
    tick_kimg: float  # thousands of images between reports
    lr_g: float  # Adam's learning rate of the generator, before the lazy correction
    lr_d: float  # ... of the discriminator
    r1_gamma: float  # weight of R1; 0 turns it off
    r1_every: int  # batches between R1 steps
    path_weight: float  # weight of path-length regularisation; 0 turns it off
    path_every: int  # batches between path-length steps
    path_shrink: int  # its batch is batch // path_shrink
    path_decay: float  # of the running mean path length
    mixing_prob: float  # share of batches drawn from two z (style mixing)
    ema_kimg: float  # half-life of the averaged generator, thousands of images

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name in TrainConfig.__dataclass_fields__:
            value = getattr(self, name)
            low = 0 if name in {"r1_gamma", "path_weight", "mixing_prob", "path_decay"} else 1e-12
            high = 1 if name in {"mixing_prob", "path_decay"} else math.inf
            if not low <= value <= high:
                raise UsageError(
                    f"train.{name}: found {value}, expected {'0 to' if low == 0 else 'more than 0, up to'} {high}"
                )

    @property
    def path_batch(self) -> int:
        """Images of a path-length step, over all processes."""
        return max(1, self.batch // self.path_shrink)


@dataclass(frozen=True)
class Report:
    """One tick of the training, averages since the last one over all processes."""

    kimg: float  # thousands of images seen
    d_loss: float
    g_loss: float
    technique_loss: float  # what techniques add to the generator's loss
    r1: float  # mean squared gradient norm on real images
    path_length: float  # running mean
    real_sign: float  # mean sign of D on real images, (-1, 1)
    ada_p: float
    seconds_per_kimg: float
