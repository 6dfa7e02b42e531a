"""FreezeFC: keep the mapping network as it is."""

from __future__ import annotations

from dataclasses import dataclass

from model.finetune.technique import Networks, Technique


@dataclass(frozen=True)
class FreezeMapping(Technique):
    """Keep the mapping network out of the optimiser: the same z means the same w for ever.

    Source: Huang et al. 2020 (FreezeFC), "Unsupervised image-to-image translation via pre-trained StyleGAN2 network".
    """

    def freeze(self, nets: Networks) -> None:
        """Freeze every layer of the mapping network."""
        nets.generator.mapping.requires_grad_(False)
