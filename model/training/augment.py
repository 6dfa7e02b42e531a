"""Adaptive discriminator augmentation: the *bgc* transformations, and the controller of their probability.

Source: Karras et al. 2020, "Training generative adversarial networks with limited data" (ADA), section 3, appendix B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.finetune.technique import GROUPS, Augmentation
from model.training import augment_colour as colour
from model.training import augment_geometry as geometry
from model.training.shares import Share
from model.training.world import ALONE, World

GEOMETRY = GROUPS["b"] + GROUPS["g"]
COLOUR = GROUPS["c"]
ALL = frozenset(GEOMETRY + COLOUR)

SHIFT = 0.125  # of the image's size: bound of whole_shift, standard deviation of shift
SCALE = 0.2  # standard deviation of log2, of scale and aspect
BRIGHTNESS = 0.2  # standard deviation
CONTRAST, SATURATION = 0.5, 1.0  # standard deviations of log2


class AdaController:
    """Raises ``p`` while D recognises reals too confidently, lowers it otherwise; or keeps it, if so asked.

    Source: Karras et al. 2020 (ADA), section 3.1, with the heuristic r_t.
    """

    def __init__(self, asked: Augmentation) -> None:
        self.config = asked.ada  # None: p stays
        self.transforms = asked.transforms
        self.p = asked.p  # probability of every transformation
        self.r = 0.0  # mean sign of D on reals, between the last two updates
        self._signs: Tensor | float = 0.0  # of this process; stays on D's device until the next update
        self._count = 0  # logits behind it
        self._images = 0  # images since the last update

    def observe(self, real_logits: Tensor) -> None:
        """Take note of D's logits of (augmented) reals, any shape; does not wait for the device."""
        if self.config is None:
            return
        self._signs = self._signs + real_logits.detach().sign().sum(dtype=torch.float32)
        self._count += real_logits.numel()

    def update(self, iteration: int, batch: int, world: World = ALONE) -> None:
        """Count ``batch`` images, and in every ``every``-th iteration move ``p`` by their share of the ramp.

        Args:
            iteration: of the training loop.
            batch: reals shown to D in it, over all processes.
            world: the processes, all of which must call.
        """
        if self.config is None:
            return
        self._images += batch
        if iteration % self.config.every or self._images == 0:
            return
        signs, count = self._total(world)
        if count == 0:
            return
        self.r = signs / count
        step = self._images / (self.config.kimg * 1000.0)
        direction = (self.r > self.config.target) - (self.r < self.config.target)
        self.p = min(max(self.p + direction * step, 0.0), 1.0)
        self._signs, self._count, self._images = 0.0, 0, 0

    def fold(self, world: World) -> None:
        """Add up the signs of all processes, which must all call, in the first one; the others go on from 0."""
        if world.size > 1:
            signs, count = self._total(world)
            self._signs, self._count = (signs, count) if world.rank == 0 else (0.0, 0)

    def _total(self, world: World) -> tuple[float, int]:
        if world.size == 1:
            return float(self._signs), self._count
        signs = torch.as_tensor(self._signs, dtype=torch.float32)
        signs, count = world.sum(torch.stack([signs, torch.tensor(float(self._count)).to(signs)])).tolist()
        return float(signs), round(count)

    def state_dict(self) -> dict[str, float]:
        """Return what a continued run needs, as plain numbers."""
        return {
            "p": self.p, "r": self.r, "sign_sum": float(self._signs), "count": self._count, "images": self._images,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from ``state``.

        Raises: KeyError naming what ``state`` lacks.
        """
        self.p, self.r, self._signs = state["p"], state["r"], state["sign_sum"]
        self._count, self._images = int(state["count"]), int(state["images"])


@dataclass(frozen=True)
class Draws:
    """The randomness of one batch; one column per transformation, two for those along x and y."""

    gates: Tensor  # [N, 13] uniform in [0, 1): a transformation happens where this is below its probability
    uniform: Tensor  # [N, 8] in [0, 1)
    normal: Tensor  # [N, 7]

    @classmethod
    def take(cls, n: int, generator: torch.Generator) -> Draws:
        """Draw for ``n`` images: the same numbers from the generator whatever is then done with them."""
        chance = torch.rand(n, len(ALL) + 8, generator=generator, dtype=torch.float64)
        normal = torch.randn(n, 7, generator=generator, dtype=torch.float64)
        return cls(chance[:, : len(ALL)], chance[:, len(ALL) :], normal)

    def of(self, share: Share) -> Draws:
        """Return what a share of the batch needs."""
        return Draws(share.take(self.gates), share.take(self.uniform), share.take(self.normal))

    def where(self, name: str, p: float, value: Tensor) -> Tensor:
        """Return ``value`` for the images that transformation ``name`` happens to, 0 for the others."""
        return value * (self.gates[:, (GEOMETRY + COLOUR).index(name)] < p)


def augment(
    images: Tensor,
    p: float,
    generator: torch.Generator,
    *,
    allowed: frozenset[str] = ALL,
    share: Share | None = None,
) -> Tensor:
    """Apply every transformation to every image with probability ``p``.

    Differentiable any number of times with respect to ``images``.

    Args:
        images: ``[N, 3, H, W]``, about [-1, 1].
        p: probability, 0 to 1; at 0 the result is ``images`` itself, nothing is drawn and nothing computed.
        generator: on the CPU, the only source of randomness; what is drawn from it depends on N alone (unless p is 0).
        allowed: names of the transformations that may happen.
        share: which rows of a batch the images are; each is treated as it would be in the whole batch.

    Returns: ``[N, 3, H, W]``.
    Raises: ValueError for a probability outside [0, 1] or an unknown transformation.
    Source: Karras et al. 2020 (ADA), appendix B.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p: found {p}, expected from 0 to 1")
    if allowed - ALL:
        raise ValueError(f"allowed: found {sorted(allowed - ALL)}, expected some of {', '.join(GEOMETRY + COLOUR)}")
    if p == 0.0:
        return images
    draws = Draws.take(len(images), generator) if share is None else Draws.take(share.total, generator).of(share)
    if allowed.intersection(GEOMETRY):
        images = geometry.warp(images, inverse_maps(draws, p, images.shape[2:], allowed))
    if allowed.intersection(COLOUR):
        images = colour.recolour(images, colour_maps(draws, p, allowed))
    return images


def inverse_maps(draws: Draws, p: float, size: torch.Size, allowed: frozenset[str] = ALL) -> Tensor:
    """Return the maps from result to image, in px from the centre, ``[N, 3, 3]``; ``size`` is (H, W).

    The product of the inverses, in the order in which the transformations happen. Distributions are symmetric, so a
    draw may as well stand for the inverse of the transformation.
    """
    u, normal = draws.uniform.unbind(1), draws.normal.unbind(1)
    extent = torch.tensor([size[1], size[0]], dtype=torch.float64) * SHIFT

    def on(name: str, value: Tensor, probability: float = p) -> Tensor:
        return draws.where(name, probability, value)

    rotates = 1.0 - math.sqrt(1.0 - p)  # for each of two rotations: at least one happens with probability p
    flip = on("flip", (u[0] * 2).floor())
    turns = on("quarter_turns", (u[1] * 4).floor())
    whole = [on("whole_shift", ((u[2 + axis] * 2 - 1) * extent[axis]).round()) for axis in (0, 1)]
    shift = [on("shift", normal[2 + axis] * extent[axis]) for axis in (0, 1)]
    scale, aspect = on("scale", normal[0] * SCALE), on("aspect", normal[1] * SCALE)
    steps = {
        "flip": geometry.scaling(1 - 2 * flip, torch.ones_like(flip)),
        "quarter_turns": geometry.rotation(turns * (math.pi / 2)),
        "whole_shift": geometry.translation(whole[0], whole[1]),
        "scale": geometry.scaling(torch.exp2(scale), torch.exp2(scale)),
        "pre_rotation": geometry.rotation(on("pre_rotation", (u[4] * 2 - 1) * math.pi, rotates)),
        "aspect": geometry.scaling(torch.exp2(aspect), torch.exp2(-aspect)),
        "post_rotation": geometry.rotation(on("post_rotation", (u[5] * 2 - 1) * math.pi, rotates)),
        "shift": geometry.translation(shift[0], shift[1]),
    }
    inverse = geometry.identity(len(flip))
    for name in GEOMETRY:
        if name in allowed:
            inverse = inverse @ steps[name]
    return inverse


def colour_maps(draws: Draws, p: float, allowed: frozenset[str] = ALL) -> Tensor:
    """Return the maps of RGB, ``[N, 4, 4]``."""
    u, normal = draws.uniform.unbind(1), draws.normal.unbind(1)
    steps = {
        "brightness": colour.brightness(draws.where("brightness", p, normal[4] * BRIGHTNESS)),
        "contrast": colour.contrast(torch.exp2(draws.where("contrast", p, normal[5] * CONTRAST))),
        "luma_flip": colour.luma_flip(draws.where("luma_flip", p, (u[6] * 2).floor())),
        "hue": colour.hue(draws.where("hue", p, (u[7] * 2 - 1) * math.pi)),
        "saturation": colour.saturation(torch.exp2(draws.where("saturation", p, normal[6] * SATURATION))),
    }
    maps = colour.identity(len(draws.gates))
    for name in COLOUR:
        if name in allowed:
            maps = steps[name] @ maps
    return maps
