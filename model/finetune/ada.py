"""ADA: augment what the discriminator sees, as strongly as overfitting demands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.errors import UsageError
from model.finetune.technique import AdaConfig, Augmentation, Networks, Technique, Transforms, transform_names

FROM_SCRATCH, TRANSFER = 500.0, 100.0  # kimg of "auto"


@dataclass(frozen=True)
class Ada(Technique):
    """Adaptive discriminator augmentation.

    ``kimg: auto`` is NVIDIA's choice: 500 from scratch, 100 when there is a source, because a fine-tuning is over
    before a slow ramp has risen.

    Source: Karras et al. 2020 (ADA), section 3, and the settings of its published code.
    """

    target: float  # wanted mean sign of the discriminator on real images
    kimg: float | Literal["auto"]  # thousands of images for p to go from 0 to 1
    every: int  # batches between updates of p
    transforms: Transforms  # b (pixel blits), g (geometry), c (colour) or several as in bgc; or a list of names

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse settings outside their ranges."""
        if not -1 < self.target < 1 or (self.kimg != "auto" and self.kimg <= 0) or self.every < 1:
            raise UsageError(f"methods: ada: found {self}, expected target in (-1, 1), kimg > 0 and every >= 1")
        if not self.transforms:
            raise UsageError("methods: ada.transforms: found an empty list, expected a group like bgc or some names; "
                             "to augment nothing, leave ada out")  # fmt: skip

    def augmentation(self, nets: Networks) -> Augmentation | None:
        """Start at p = 0 and follow overfitting."""
        auto = FROM_SCRATCH if nets.source is None else TRANSFER
        kimg = auto if self.kimg == "auto" else self.kimg
        return Augmentation(0.0, transform_names(self.transforms), AdaConfig(self.target, kimg, self.every))
