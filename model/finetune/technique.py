"""What a fine-tuning technique is: a frozen dataclass with a few optional hooks, one file each in this folder.

Techniques only remove parameters from training, choose style vectors, add losses or ask for augmentation, so they
compose in any order; a *method* is a params.yaml mapping of techniques to their settings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from model.errors import UsageError
from model.networks.discriminator import Discriminator
from model.networks.generator import BlockOutput, Generator, Noise


@dataclass(frozen=True)
class AdaConfig:
    """Adaptive discriminator augmentation: what a technique asks of the training loop."""

    target: float  # wanted mean sign of the discriminator on real images
    kimg: float  # thousands of images for p to go from 0 to 1
    every: int  # batches between updates of p


@dataclass
class Networks:
    """The networks of one training. Build it with :meth:`from_source` or :meth:`from_scratch`."""

    source: Generator | None  # what we start from: frozen, never changes; None when training from scratch
    generator: Generator  # the one that trains
    discriminator: Discriminator
    ema: Generator  # the running average of ``generator``: what is kept

    @classmethod
    def from_source(cls, source: Generator, discriminator: Discriminator) -> Networks:
        """Start from loaded weights: the generator and its average begin as exact copies of ``source``."""
        frozen = copy.deepcopy(source).eval().requires_grad_(False)
        generator = copy.deepcopy(source).requires_grad_(True)
        average = copy.deepcopy(source).eval().requires_grad_(False)
        return cls(frozen, generator, copy.deepcopy(discriminator).requires_grad_(True), average)

    @classmethod
    def from_scratch(cls, generator: Generator, discriminator: Discriminator) -> Networks:
        """Start from random weights, without a source: only methods that never look at one can run."""
        nets = cls.from_source(generator, discriminator)
        nets.source = None
        return nets

    def loaded_source(self, asked_by: str) -> Generator:
        """Return the source generator.

        Raises: UsageError if the training started from scratch.
        """
        if self.source is None:
            raise UsageError(f"methods: {asked_by} compares with the source generator, but this training has none; "
                             "start from source weights or leave the technique out")  # fmt: skip
        return self.source


@dataclass
class GeneratorPass:
    """One pass of the generator in a training step, as the techniques see it."""

    ws: Tensor  # [N, num_ws, w_dim] the style vectors used, techniques applied
    noise: Noise  # the maps used; a source pass shares them
    outputs: dict[int, BlockOutput]  # by resolution in px, the ones the techniques asked for
    make_source_ws: Callable[[], Tensor]

    @cached_property
    def source_ws(self) -> Tensor:
        """The source mapping's style vectors for the same z and the same mixing crossover, without gradient."""
        return self.make_source_ws()


@dataclass(frozen=True)
class Technique:
    """Base of all techniques: every hook does nothing."""

    def check(self, resolution: int, num_ws: int) -> None:
        """Raise UsageError if a setting does not fit networks of ``resolution`` px with ``num_ws`` style vectors."""

    def freeze(self, nets: Networks) -> None:
        """Take parameters out of training with ``requires_grad_(False)``."""

    def styles(self, ws: Tensor, source_ws: Callable[[], Tensor]) -> Tensor:
        """Return the style vectors to use instead of ``ws``; both are ``[N, num_ws, w_dim]``."""
        return ws

    def taps(self, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        """Name the resolutions (px) whose block outputs :meth:`generator_loss` reads."""
        return ()

    def generator_loss(self, nets: Networks, step: GeneratorPass) -> Tensor | None:
        """Return a loss to add to the generator's, or None."""
        return None

    def augmentation(self) -> AdaConfig | None:
        """Return the settings of discriminator augmentation, or None for no augmentation."""
        return None


def check_resolution(name: str, value: int, resolution: int, lowest: int = 4) -> None:
    """Raise UsageError unless ``value`` is a power of two between ``lowest`` and ``resolution`` px."""
    allowed = [2**k for k in range(2, resolution.bit_length()) if 2**k >= lowest]
    if value not in allowed:
        raise UsageError(f"methods: {name}: found {value} px, expected one of {allowed} for {resolution} px networks")


def styled_ws(techniques: Sequence[Technique], target: Generator, source: Generator | None, z: Tensor) -> Tensor:
    """Return the style vectors a trained generator draws ``z [N, z_dim]`` with: its own, as its techniques choose them.

    A FreezeSG generator takes its coarse rows from the source's mapping network, in use as in training.
    """
    ws = target.broadcast(target.mapping(z))

    def source_ws() -> Tensor:
        if source is None:
            raise UsageError("styles: the techniques of this generator need the source generator's mapping network")
        return source.broadcast(source.mapping(z))

    for technique in techniques:
        ws = technique.styles(ws, source_ws)
    return ws
