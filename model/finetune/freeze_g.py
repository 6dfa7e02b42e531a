"""FreezeG: keep the generator's low-resolution blocks as they are."""

from __future__ import annotations

from dataclasses import dataclass

from model.finetune.technique import Networks, Technique, check_resolution


@dataclass(frozen=True)
class FreezeG(Technique):
    """Train only the synthesis blocks of at least ``train_from`` px; pose and layout stay the source's.

    The mapping network is another technique's business (``freeze_mapping``): FreezeG's own code freezes it too,
    FreezeSG must not.

    Source: bryandlee/FreezeG, whose flag counts *trained* blocks; a resolution means the same at every size.
    """

    train_from: int  # px, the lowest block that trains

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse a size that no block has."""
        check_resolution("freeze_g.train_from", self.train_from, resolution)

    def freeze(self, nets: Networks) -> None:
        """Freeze the learned constant and every block below ``train_from`` px."""
        synthesis = nets.generator.synthesis
        if self.train_from > 4:
            synthesis.const.requires_grad_(False)
        for name, block in synthesis.blocks.items():
            if int(name) < self.train_from:
                block.requires_grad_(False)
