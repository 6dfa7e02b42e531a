"""One pass of the generator: what is drawn for it, and what the techniques make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.finetune.technique import GeneratorPass, Networks, Technique
from model.networks.generator import Generator, Noise
from model.training.shares import Share


@dataclass(frozen=True)
class Draws:
    """The randomness of one batch of generated images."""

    z: Tensor  # [2, N, z_dim] two codes per image
    crossover: int  # the first row of ws that comes from the second code; num_ws is none
    noise: Noise  # one map [N, 1, R, R] per convolution

    def of(self, share: Share) -> Draws:
        """Return what a share of the batch needs."""
        maps = [None if noise is None else share.take(noise) for noise in self.noise]
        return Draws(share.take(self.z.transpose(0, 1)).transpose(0, 1), self.crossover, maps)


def draw(generator: Generator, n: int, mixing_prob: float, random: torch.Generator, texture: torch.Generator) -> Draws:
    """Draw codes, mixing crossover and noise for ``n`` images.

    Args:
        generator: gives sizes, dtype and device.
        n: images of the whole batch.
        mixing_prob: probability of style mixing (Karras et al. 2019, section 3.1), for the batch as a whole.
        random: on the CPU, for codes and crossover.
        texture: for the noise maps, on the device that should draw them.
    """
    z = torch.randn(2, n, generator.config.z_dim, generator=random).to(generator.w_avg)
    mixed = float(torch.rand((), generator=random)) < mixing_prob
    crossover = int(torch.randint(1, generator.num_ws, (), generator=random)) if mixed else generator.num_ws
    return Draws(z, crossover, generator.synthesis.random_noise(n, texture))


def make_pass(nets: Networks, techniques: Sequence[Technique], draws: Draws) -> GeneratorPass:
    """Map the codes and apply the techniques' styles."""
    generator, crossover = nets.generator, draws.crossover

    def source_ws() -> Tensor:
        with torch.no_grad():
            source = nets.loaded_source("a technique")
            return _mixed(source.mapping, draws.z, crossover, generator.num_ws)

    ws = _mixed(generator.mapping, draws.z, crossover, generator.num_ws)
    made = GeneratorPass(ws, draws.noise, {}, source_ws)
    for technique in techniques:
        made.ws = technique.styles(made.ws, lambda: made.source_ws)
    return made


def _mixed(mapping: Callable[[Tensor], Tensor], z: Tensor, crossover: int, num_ws: int) -> Tensor:
    """Map ``z [2, N, z_dim]`` and take rows from ``crossover`` on from the second code: ``[N, num_ws, w_dim]``."""
    first = mapping(z[0])[:, None]
    if crossover >= num_ws:
        return first.expand(-1, num_ws, -1)
    second = mapping(z[1])[:, None]
    return torch.cat([first.expand(-1, crossover, -1), second.expand(-1, num_ws - crossover, -1)], 1)
