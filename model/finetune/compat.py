"""The published Cartoon-StyleGAN script's flags, with its behaviour: for comparing with its released weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.errors import UsageError
from model.finetune.technique import Codes, GeneratorPass, Networks, Technique
from model.networks.generator import Generator


@dataclass(frozen=True)
class Compat(Technique):
    """Train as the published script does where it differs from the paper. Every number is the flag's, -1 is its "off".

    - ``freeze_d``, ``freeze_g`` count the blocks that *train*: the discriminator's lowest, with its head; the
      generator's highest. A count for the generator freezes mapping network, constant and the block of 4 px as well,
      and giving one at all, 0 included, turns path-length regularisation off.
    - ``freeze_style`` rows come from the source only in batches of two codes, in the steps of D and G; the other rows
      then all use the first code, so that styles are no longer mixed.
    - ``freeze_fc`` takes every row from the source, in batches of two codes and D's step alone; the mapping trains on.
    - ``structure_loss`` compares features of 8 px and up, weight 1; the two sides draw noise and crossover of their
      own, so that it is not 0 even between equal networks.

    One thing is not reproduced: the script never loads its source generator and so compares with random weights. Here
    the source is the loaded one, always. Neither are its two broken transformations; see ``ada`` and ``augment``.

    Source: Back 2021 (Cartoon-StyleGAN), the published training script.
    """

    freeze_d: int  # D blocks that train, from 8 px up; 0 and below: all
    freeze_g: int  # G blocks that train, from the image down; 0 and below: all
    freeze_style: int  # style vectors, from the coarsest
    structure_loss: int  # feature maps compared: 8 px, 16 px, ...
    freeze_fc: bool

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse counts that no network of ``resolution`` px has, and the two ways to replace styles at once."""
        blocks = resolution.bit_length() - 3
        highest = {"freeze_d": blocks + 1, "freeze_g": blocks, "freeze_style": num_ws, "structure_loss": blocks}
        for name, most in highest.items():
            value = getattr(self, name)
            if not -1 <= value <= most:
                raise UsageError(
                    f"methods: compat.{name}: found {value}, expected -1 (off) to {most} for {resolution} px networks"
                )
        if self.freeze_fc and self.freeze_style > 0:
            raise UsageError("methods: compat: found freeze_fc and freeze_style, which replace the same style vectors; "
                             "set freeze_fc: false or freeze_style: -1")  # fmt: skip

    def freeze(self, nets: Networks) -> None:
        """Freeze all but the blocks counted."""
        if self.freeze_g > 0:
            nets.generator.mapping.requires_grad_(False)
            nets.generator.synthesis.const.requires_grad_(False)
            for resolution in nets.generator.config.resolutions[: -self.freeze_g]:
                nets.generator.synthesis.block(resolution).requires_grad_(False)
        if self.freeze_d > 0:
            for name, block in nets.discriminator.blocks.items():
                block.requires_grad_(int(name) <= _px(self.freeze_d))
            nets.discriminator.from_rgb.requires_grad_(self.freeze_d > len(nets.discriminator.blocks))

    def styles(self, ws: Tensor, codes: Codes) -> Tensor:
        """Replace rows in batches of two codes only; generated pictures, of one code, keep their own."""
        if len(codes.target) == 1 or codes.purpose not in {"d", "g"}:
            return ws
        if self.freeze_fc:
            return codes.mix(codes.source, _crossover(codes)) if codes.purpose == "d" else ws
        if self.freeze_style <= 0:
            return ws
        coarse = codes.mix(codes.source, _crossover(codes))[:, : self.freeze_style]
        return torch.cat([coarse, codes.mix(codes.target[:1], 0)[:, self.freeze_style :]], 1)

    def path_length(self) -> bool:
        """Turn it off as soon as the flag is given."""
        return self.freeze_g < 0

    def generator_loss(self, nets: Networks, step: GeneratorPass) -> Tensor | None:
        """Return the sum over layers of the MSE between two features, each of a pass of its own."""
        if self.structure_loss <= 0:
            return None
        source, codes = nets.loaded_source("compat.structure_loss"), step.codes
        loss = step.ws.new_zeros(())
        for layer in range(1, self.structure_loss + 1):
            with torch.no_grad():
                theirs = _features(source, codes, codes.source, _px(layer))
            loss = loss + F.mse_loss(_features(nets.generator, codes, codes.target, _px(layer)), theirs)
        return loss


def _px(layer: int) -> int:
    """Return the size of the script's n-th layer: 8, 16, ..."""
    return 4 << layer


def _crossover(codes: Codes) -> int:
    """Draw where the second code begins, apart from the pass's own."""
    return int(torch.randint(1, codes.num_ws, (), generator=codes.random))


def _features(generator: Generator, codes: Codes, used: tuple[Tensor, ...], resolution: int) -> Tensor:
    """Return the features of ``resolution`` px for the codes ``used``, with fresh noise and crossover."""
    ws = codes.mix(used, _crossover(codes))
    drawn = generator.synthesis.random_noise(codes.batch, codes.random)
    noise = [None if maps is None else codes.take(maps) for maps in drawn]
    return next(out.features for out in generator.synthesis.walk(ws, noise) if out.resolution == resolution)
