"""Structure loss: the low-resolution picture must stay the source's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from model.errors import UsageError
from model.finetune.technique import GeneratorPass, Networks, Technique, check_resolution
from model.networks.generator import BlockOutput


@dataclass(frozen=True)
class StructureLoss(Technique):
    """Add ``weight`` times the MSE between the source's and the target's outputs of the blocks of ``resolutions`` px.

    Source and target share z, mixing crossover and noise, each through its own mapping network, so the loss is
    exactly 0 while the target equals the source. The source runs only up to the largest of ``resolutions`` and without
    gradient; the target's outputs are those of the pass that the adversarial loss makes anyway.

    Source: Back 2021 (Cartoon-StyleGAN), equation 2 and figure 2(a): accumulated RGB of 4, 8 and 16 px, summed, weight
    1 (its text says MSE). The published script compares features instead: see ``compat``.
    """

    space: Literal["rgb", "feature"]  # the RGB accumulated up to a block, or the features that enter its ToRGB
    resolutions: tuple[int, ...]  # px, the blocks compared
    weight: float
    reduction: Literal["sum", "mean"]  # over the resolutions; over the elements of one it is always the mean

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse a size that no block has, no size at all, and a size twice."""
        if not self.resolutions or len(set(self.resolutions)) != len(self.resolutions):
            raise UsageError(
                f"methods: structure_loss.resolutions: found {list(self.resolutions)}, "
                "expected one or more sizes in px, each once"
            )
        for value in self.resolutions:
            check_resolution("structure_loss.resolutions", value, resolution)
        if self.weight < 0:
            raise UsageError(f"methods: structure_loss.weight: found {self.weight}, expected 0 or more")

    def taps(self, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        """Ask for the blocks compared."""
        return tuple(r for r in resolutions if r in self.resolutions)

    def generator_loss(self, nets: Networks, step: GeneratorPass) -> Tensor | None:
        """Return the weighted loss, a scalar."""
        source = nets.loaded_source("structure_loss")
        wanted = []
        with torch.no_grad():
            for out in source.synthesis.walk(step.source_ws, step.noise):
                wanted.append(out)
                if out.resolution == max(self.resolutions):
                    break
        loss = step.ws.new_zeros(())
        for out in wanted:
            if out.resolution in self.resolutions:
                difference = self._compared(step.outputs[out.resolution]) - self._compared(out)
                loss = loss + difference.to(loss.dtype).square().mean()
        share = self.weight / len(self.resolutions) if self.reduction == "mean" else self.weight
        return loss * share

    def _compared(self, out: BlockOutput) -> Tensor:
        return out.rgb if self.space == "rgb" else out.features
