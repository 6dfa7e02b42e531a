"""FreezeD: keep the discriminator's high-resolution blocks as they are."""

from __future__ import annotations

from dataclasses import dataclass

from model.finetune.technique import Networks, Technique, check_resolution


@dataclass(frozen=True)
class FreezeD(Technique):
    """Train only the discriminator blocks that read at most ``train_up_to`` px, and the head.

    Source: Mo et al. 2020 (FreezeD), whose ``feature_loc`` counts *trained* blocks; a resolution means the same at
    every size. ``--freezeD 3`` of the published cartoon script is ``train_up_to: 32``.
    """

    train_up_to: int  # px, input size of the highest block that trains

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse a size that no block has."""
        check_resolution("freeze_d.train_up_to", self.train_up_to, resolution)

    def freeze(self, nets: Networks) -> None:
        """Freeze the blocks above ``train_up_to`` px, and fromRGB with the first of them."""
        discriminator = nets.discriminator
        for name, block in discriminator.blocks.items():
            if int(name) > self.train_up_to:
                block.requires_grad_(False)
        if self.train_up_to < discriminator.config.resolution:
            discriminator.from_rgb.requires_grad_(False)
