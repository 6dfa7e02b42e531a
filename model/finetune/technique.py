"""What a fine-tuning technique is: a frozen dataclass with a few optional hooks, one file each in this folder.

Techniques only remove parameters from training, choose style vectors, add losses or ask for augmentation, so they
compose in any order; a *method* is a params.yaml mapping of techniques to their settings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from model.errors import UsageError
from model.networks.discriminator import Discriminator
from model.networks.generator import BlockOutput, Generator, Noise

# The discriminator's transformations, in the order in which they happen, and NVIDIA's names for groups of them.
Blit = Literal["flip", "quarter_turns", "whole_shift"]
Geometry = Literal["scale", "pre_rotation", "aspect", "post_rotation", "shift"]
Colour = Literal["brightness", "contrast", "luma_flip", "hue", "saturation"]
Transforms = Literal["b", "g", "c", "bg", "bc", "gc", "bgc"] | tuple[Blit | Geometry | Colour, ...]
GROUPS: dict[str, tuple[str, ...]] = {"b": get_args(Blit), "g": get_args(Geometry), "c": get_args(Colour)}


@dataclass(frozen=True)
class AdaConfig:
    """How the probability of the discriminator's augmentation follows overfitting."""

    target: float  # wanted mean sign of the discriminator on real images
    kimg: float  # thousands of images for p to go from 0 to 1
    every: int  # batches between updates of p


@dataclass(frozen=True)
class Augmentation:
    """Discriminator augmentation: what a technique asks of the training loop."""

    p: float  # probability of every transformation, to start from
    transforms: frozenset[str]  # names of those that may happen
    ada: AdaConfig | None  # None keeps p


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

    def compute_in(self, activations: torch.dtype | None) -> None:
        """Choose the precision of features while training; None is that of the parameters.

        Parameters, mapping network, demodulation, accumulated RGB, minibatch statistics, the last layers, losses,
        optimisers and the average keep the parameters' precision.
        """
        for generator in (self.source, self.generator):
            if generator is not None:
                generator.synthesis.activations = activations
        self.discriminator.activations = activations

    def loaded_source(self, asked_by: str) -> Generator:
        """Return the source generator.

        Raises: UsageError if the training started from scratch.
        """
        if self.source is None:
            raise UsageError(f"methods: {asked_by} compares with the source generator, but this training has none; "
                             "start from source weights or leave the technique out")  # fmt: skip
        return self.source


@dataclass
class Codes:
    """What the style vectors of one batch are made from: one code per image, or two where styles are mixed."""

    purpose: str  # the step that draws: d, g or path; "use" when a trained generator draws
    target: tuple[Tensor, ...]  # the generator's w of each code, [N, w_dim]
    make_source: Callable[[], tuple[Tensor, ...]]
    crossover: int  # first row of ws that the second code is used for
    num_ws: int
    random: torch.Generator  # for draws of a technique's own, for the whole batch
    batch: int  # images of the whole batch; N may be a share of them
    take: Callable[[Tensor], Tensor]  # from [batch, ...] the rows of the share

    @property
    def ws(self) -> Tensor:
        """The generator's own style vectors, ``[N, num_ws, w_dim]``."""
        return self.mix(self.target, self.crossover)

    @cached_property
    def source(self) -> tuple[Tensor, ...]:
        """The source mapping's w of each code, without gradient."""
        return self.make_source()

    @cached_property
    def source_ws(self) -> Tensor:
        """The source mapping's style vectors with the same crossover, ``[N, num_ws, w_dim]``, without gradient."""
        return self.mix(self.source, self.crossover)

    def mix(self, codes: Sequence[Tensor], crossover: int) -> Tensor:
        """Take rows from ``crossover`` on from the second code, if there are two: ``[N, num_ws, w_dim]``."""
        first = codes[0][:, None]
        if len(codes) == 1:
            return first.expand(-1, self.num_ws, -1)
        second = codes[1][:, None]
        return torch.cat([first.expand(-1, crossover, -1), second.expand(-1, self.num_ws - crossover, -1)], 1)


@dataclass
class GeneratorPass:
    """One pass of the generator in a training step, as the techniques see it."""

    ws: Tensor  # [N, num_ws, w_dim] the style vectors used, techniques applied
    noise: Noise  # the maps used; a source pass shares them
    outputs: dict[int, BlockOutput]  # by resolution in px, the ones the techniques asked for
    codes: Codes

    @property
    def source_ws(self) -> Tensor:
        """The source mapping's style vectors for the same z and the same mixing crossover, without gradient."""
        return self.codes.source_ws


@dataclass(frozen=True)
class Technique:
    """Base of all techniques: every hook does nothing."""

    def check(self, resolution: int, num_ws: int) -> None:
        """Raise UsageError if a setting does not fit networks of ``resolution`` px with ``num_ws`` style vectors."""

    def freeze(self, nets: Networks) -> None:
        """Take parameters out of training with ``requires_grad_(False)``."""

    def styles(self, ws: Tensor, codes: Codes) -> Tensor:
        """Return the style vectors to use instead of ``ws [N, num_ws, w_dim]``, which were made from ``codes``."""
        return ws

    def taps(self, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        """Name the resolutions (px) whose block outputs :meth:`generator_loss` reads."""
        return ()

    def generator_loss(self, nets: Networks, step: GeneratorPass) -> Tensor | None:
        """Return a loss to add to the generator's, or None."""
        return None

    def path_length(self) -> bool:
        """Return whether path-length regularisation may run; one False turns it off."""
        return True

    def augmentation(self, nets: Networks) -> Augmentation | None:
        """Return how to augment what the discriminator sees, or None for no augmentation."""
        return None


def augmentation_of(techniques: Sequence[Technique], nets: Networks) -> Augmentation | None:
    """Return the augmentation that a method asks for.

    Raises: UsageError if two techniques ask for one.
    """
    found = [(type(t).__name__.lower(), asked) for t in techniques if (asked := t.augmentation(nets)) is not None]
    if len(found) > 1:
        names = " and ".join(name for name, _ in found)
        raise UsageError(f"methods: found {names} in one method, but each sets the probability of augmentation; "
                         "keep one of them")  # fmt: skip
    return found[0][1] if found else None


def transform_names(transforms: Transforms) -> frozenset[str]:
    """Return the names that a setting ``transforms`` stands for: those listed, or those of the groups b, g and c."""
    if isinstance(transforms, str):
        return frozenset(name for group in transforms for name in GROUPS[group])
    return frozenset(transforms)


def check_resolution(name: str, value: int, resolution: int, lowest: int = 4) -> None:
    """Raise UsageError unless ``value`` is a power of two between ``lowest`` and ``resolution`` px."""
    allowed = [2**k for k in range(2, resolution.bit_length()) if 2**k >= lowest]
    if value not in allowed:
        raise UsageError(f"methods: {name}: found {value} px, expected one of {allowed} for {resolution} px networks")


def styled_ws(techniques: Sequence[Technique], target: Generator, source: Generator | None, z: Tensor) -> Tensor:
    """Return the style vectors a trained generator draws ``z [N, z_dim]`` with: its own, as its techniques choose them.

    A FreezeSG generator takes its coarse rows from the source's mapping network, in use as in training.
    """

    def make_source() -> tuple[Tensor, ...]:
        if source is None:
            raise UsageError("styles: the techniques of this generator need the source generator's mapping network")
        return (source.mapping(z),)

    ws_of = (target.mapping(z),)
    codes = Codes("use", ws_of, make_source, target.num_ws, target.num_ws, torch.Generator(), len(z), lambda x: x)
    ws = codes.ws
    for technique in techniques:
        ws = technique.styles(ws, codes)
    return ws
