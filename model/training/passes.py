"""One pass of the generator: what is drawn for it, and what the techniques make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.finetune.technique import Codes, GeneratorPass, Networks, Technique
from model.networks.generator import Generator, Noise
from model.training.shares import Share


@dataclass(frozen=True)
class Draws:
    """The randomness of one batch of generated images."""

    purpose: str  # the step that draws: d, g or path
    z: Tensor  # [1 or 2, N, z_dim] one code per image, or two where styles are mixed
    crossover: int  # the first row of ws that comes from the second code; num_ws without one
    noise: Noise  # one map [N, 1, R, R] per convolution
    seed: int  # of draws of the techniques' own, for the batch as a whole
    share: Share  # which rows of the batch these are

    def of(self, share: Share) -> Draws:
        """Return what a share of the batch needs."""
        maps = [None if noise is None else share.take(noise) for noise in self.noise]
        return replace(self, z=share.take(self.z.transpose(0, 1)).transpose(0, 1), noise=maps, share=share)


def draw(
    generator: Generator, n: int, mixing_prob: float, purpose: str, random: torch.Generator, texture: torch.Generator
) -> Draws:
    """Draw codes, mixing crossover and noise for ``n`` images.

    Args:
        generator: gives sizes, dtype and device.
        n: images of the whole batch.
        mixing_prob: probability of style mixing (Karras et al. 2019, section 3.1), for the batch as a whole.
        purpose: the step that draws: d, g or path.
        random: on the CPU, for codes and crossover.
        texture: for the noise maps, on the device that should draw them.
    """
    z = torch.randn(2, n, generator.config.z_dim, generator=random).to(generator.w_avg)
    mixed = float(torch.rand((), generator=random)) < mixing_prob
    crossover = int(torch.randint(1, generator.num_ws, (), generator=random)) if mixed else generator.num_ws
    seed = int(torch.randint(2**62, (), generator=random))
    noise = generator.synthesis.random_noise(n, texture)
    return Draws(purpose, z if mixed else z[:1], crossover, noise, seed, Share(torch.arange(n), n))


def make_pass(nets: Networks, techniques: Sequence[Technique], draws: Draws) -> GeneratorPass:
    """Map the codes and apply the techniques' styles."""
    generator = nets.generator

    def make_source() -> tuple[Tensor, ...]:
        with torch.no_grad():
            source = nets.loaded_source("a technique")
            return tuple(source.mapping(code) for code in draws.z)

    target = tuple(generator.mapping(code) for code in draws.z)
    random = torch.Generator().manual_seed(draws.seed)
    whole, take = draws.share.total, draws.share.take
    codes = Codes(draws.purpose, target, make_source, draws.crossover, generator.num_ws, random, whole, take)
    made = GeneratorPass(codes.ws, draws.noise, {}, codes)
    for technique in techniques:
        made.ws = technique.styles(made.ws, codes)
    return made
