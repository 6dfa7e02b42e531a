"""ADA: augment what the discriminator sees, as strongly as overfitting demands."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import UsageError
from model.finetune.technique import AdaConfig, Technique


@dataclass(frozen=True)
class Ada(Technique):
    """Adaptive discriminator augmentation.

    Source: Karras et al. 2020 (ADA), section 3.
    """

    target: float  # wanted mean sign of the discriminator on real images
    kimg: float  # thousands of images for p to go from 0 to 1
    every: int  # batches between updates of p

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse settings outside their ranges."""
        if not -1 < self.target < 1 or self.kimg <= 0 or self.every < 1:
            raise UsageError(f"methods: ada: found {self}, expected target in (-1, 1), kimg > 0 and every >= 1")

    def augmentation(self) -> AdaConfig | None:
        """Return the controller's settings."""
        return AdaConfig(target=self.target, kimg=self.kimg, every=self.every)
