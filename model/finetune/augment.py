"""Fixed augmentation: transform what the discriminator sees with one probability from the first batch on."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import UsageError
from model.finetune.technique import Augmentation, Networks, Technique, Transforms, transform_names


@dataclass(frozen=True)
class Augment(Technique):
    """Apply the transformations of ``ada`` with a probability that stays.

    Source: Karras et al. 2020 (ADA), section 2 (fixed p); ``--augment_p`` of rosinality's script.
    """

    p: float  # probability of every transformation
    transforms: Transforms  # as in ada

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse a probability outside its range, and nothing to do."""
        if not 0 <= self.p <= 1:
            raise UsageError(f"methods: augment.p: found {self.p}, expected 0 to 1")
        if not self.transforms:
            raise UsageError("methods: augment.transforms: found an empty list, expected a group like bgc or some "
                             "names; to augment nothing, leave augment out")  # fmt: skip

    def augmentation(self, nets: Networks) -> Augmentation | None:
        """Keep p."""
        return Augmentation(self.p, transform_names(self.transforms), None)
