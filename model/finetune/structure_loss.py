"""Structure loss: the low-resolution picture must stay the source's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.finetune.technique import GeneratorPass, Networks, Technique, check_resolution


@dataclass(frozen=True)
class StructureLoss(Technique):
    """Add ``weight`` times the summed MSE of the *accumulated RGB* of the blocks up to ``up_to`` px.

    Source and target share z, mixing crossover and noise, each through its own mapping network, so the loss is
    exactly 0 while the target equals the source. The source runs only up to ``up_to`` px and without gradient; the
    target's RGB are those of the pass that the adversarial loss makes anyway.

    Source: Back 2021 (Cartoon-StyleGAN), equation 2 and figure 2(a) (its text says MSE; weight 1, up to 16 px).
    """

    up_to: int  # px, the highest RGB output compared
    weight: float

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse a size that no block has."""
        check_resolution("structure_loss.up_to", self.up_to, resolution)

    def taps(self, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        """Ask for every block up to ``up_to`` px."""
        return tuple(r for r in resolutions if r <= self.up_to)

    def generator_loss(self, nets: Networks, step: GeneratorPass) -> Tensor | None:
        """Return the weighted loss, a scalar."""
        source = nets.loaded_source("structure_loss")
        loss = step.ws.new_zeros(())
        with torch.no_grad():
            wanted = []
            for out in source.synthesis.walk(step.source_ws, step.noise):
                wanted.append(out)
                if out.resolution == self.up_to:
                    break
        for out in wanted:
            loss = loss + (step.outputs[out.resolution].rgb - out.rgb).square().mean()
        return loss * self.weight
