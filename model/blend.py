"""Two generators in one picture: :func:`swap_layers` exchanges weights, :func:`inject_features` activations.

Both take a *level* ``at``, in px: the source draws the blocks up to and including ``at``, the target those above. Level
0 is the target itself, the highest level the source itself.

Source: Pinkney and Adler 2020 (Resolution Dependent GAN Interpolation), section 2, for the weights; bryandlee/FreezeG
and Cartoon-StyleGAN for the activations (facts re-told, no code taken).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from model.networks.generator import BlockOutput, Generator, Noise
from model.ops.fir import upsample

Side = Literal["source", "target"]


def levels(generator: Generator) -> tuple[int, ...]:
    """Return every swap level of ``generator``, in px: 0 (all target), 4, 8, ... resolution (all source)."""
    return (0, *generator.config.resolutions)


def swap_layers(
    source: Generator, target: Generator, *, at: int, low: Side = "source", width: float | None = None
) -> Generator:
    """Build a generator from the weights of two: coarse blocks of one, fine blocks of the other.

    Args:
        source: the generator that was fine-tuned from.
        target: the fine-tuned generator, same architecture.
        at: px; the blocks up to and including this size come from ``low``, and with them the mapping network and its
            mean w. 0 gives the other generator whole (its mapping too), the resolution gives ``low`` whole.
        low: which generator draws the coarse blocks. "source" keeps the person's layout under the target's style;
            "target" puts the target's shapes under the source's texture.
        width: None switches hard at ``at``. A number, in doublings of the resolution, fades with a logistic curve: a
            block of r px takes ``1 / (1 + exp(-(log2(r / at) - 1/2) / width))`` of the fine generator.

    Returns: a new generator on the device of ``source``; neither argument is changed.
    Raises: ValueError for a level that does not exist, a width that is not positive, or two architectures.
    Source: Pinkney and Adler 2020, section 2.
    """
    _check_pair(source, target)
    plan = swap_plan(source, at=at, low=low, width=width)
    blend = copy.deepcopy(source).eval()
    theirs = target.state_dict()
    with torch.no_grad():
        for name, tensor in blend.state_dict().items():
            share = plan[name]
            if share == 1.0:
                tensor.copy_(theirs[name])
            elif share > 0.0:
                tensor.lerp_(theirs[name].to(tensor), share)
    return blend


def swap_plan(generator: Generator, *, at: int, low: Side = "source", width: float | None = None) -> dict[str, float]:
    """Return, for every tensor of a generator, the target's share in :func:`swap_layers`: 0 source, 1 target.

    Each name is decided by exactly one rule: its block's, or the mapping's.
    """
    _check_choice("low", low)
    if at not in levels(generator):
        raise ValueError(f"at: found {at} px, expected one of {list(levels(generator))}")
    if width is not None and not width > 0:
        raise ValueError(f"width: found {width}, expected a positive number of doublings, or None for a hard switch")
    top = generator.config.resolution
    plan = {}
    for name in generator.state_dict():
        resolution = _resolution_of(name)
        if resolution is None:
            fine = 1.0 if at == 0 else 0.0
        else:
            fine = _fine_share(resolution, at, None if at == top else width)
            if name.endswith("noise_const"):  # a mean of two noise maps would be weaker noise
                fine = float(fine > 0.5)
        plan[name] = fine if low == "source" else 1.0 - fine
    return plan


def _resolution_of(name: str) -> int | None:
    """Return the block (px) a tensor belongs to, None for the mapping network and the mean w."""
    parts = name.split(".")
    if parts[0] in ("mapping", "w_avg"):
        return None
    if name == "synthesis.const":
        return 4
    if parts[:2] == ["synthesis", "blocks"]:
        return int(parts[2])
    raise ValueError(f"{name}: belongs to no block and not to the mapping; model/blend.py needs a rule for it")


def _fine_share(resolution: int, at: int, width: float | None) -> float:
    if at == 0 or width is None:
        return float(resolution > at)
    position = (math.log2(resolution / at) - 0.5) / width
    return 0.5 * (1.0 + math.tanh(position / 2))  # the logistic function, without overflow


def inject_features(
    source: Generator,
    target: Generator,
    ws_source: Tensor,
    ws_target: Tensor,
    noise: Noise,
    *,
    at: int,
    rgb_skip: Side,
) -> Tensor:
    """Draw with the source up to ``at`` px and let the target go on from its features. No weight changes.

    Args:
        source: draws the coarse blocks.
        target: draws the blocks above ``at``.
        ws_source: style vectors for the source ``[N, num_ws, w_dim]``.
        ws_target: style vectors for the target, same shape; usually of the same z.
        noise: one map per convolution, shared by both.
        at: px; 0 gives the target's picture.
        rgb_skip: whose RGB goes on at ``at`` px. "source": the source's accumulated RGB moves over with the features
            (FreezeG's way; the highest level gives the source's picture). "target": the target's RGB from below, to
            which the target's own ToRGB adds what it reads in the source's features (Cartoon-StyleGAN's way).

    Returns: images ``[N, 3, R, R]``.
    Raises: ValueError for a level that does not exist, another ``rgb_skip``, or two architectures.
    """
    return sweep_features(source, target, ws_source, ws_target, noise, (at,), rgb_skip)[at]


def sweep_features(
    source: Generator,
    target: Generator,
    ws_source: Tensor,
    ws_target: Tensor,
    noise: Noise,
    at_levels: Sequence[int],
    rgb_skip: Side,
) -> dict[int, Tensor]:
    """Run :func:`inject_features` at several levels; what they share is computed once, with bit-identical results.

    Returns: images by level, in the order of ``at_levels``.
    """
    _check_pair(source, target)
    _check_choice("rgb_skip", rgb_skip)
    for at in at_levels:
        if at not in levels(source):
            raise ValueError(f"at: found {at} px, expected one of {list(levels(source))}")
    highest = max(at_levels, default=0)
    taps = _prefix(source, ws_source, noise, highest)
    below: dict[int, BlockOutput] = {}
    if rgb_skip == "target":
        below = _prefix(target, ws_target, noise, highest // 2)
    images: dict[int, Tensor] = {}
    for at in at_levels:
        if at == 0:
            images[at] = target.synthesis(ws_target, noise)
            continue
        handed = taps[at]
        if rgb_skip == "target":
            under = below[at // 2].rgb if at > 4 else None
            handed = BlockOutput(at, handed.features, _target_rgb(target, handed, under, ws_target))
        images[at] = _finish(target, ws_target, noise, handed)
    return images


def _prefix(generator: Generator, ws: Tensor, noise: Noise, up_to: int) -> dict[int, BlockOutput]:
    taps: dict[int, BlockOutput] = {}
    if up_to < 4:
        return taps
    for out in generator.synthesis.walk(ws, noise):
        taps[out.resolution] = out
        if out.resolution >= up_to:
            break
    return taps


def _target_rgb(target: Generator, handed: BlockOutput, under: Tensor | None, ws: Tensor) -> Tensor:
    """Let the target's ToRGB read the source's features, on top of the target's RGB from ``under``."""
    block = target.synthesis.block(handed.resolution)
    rgb = block.to_rgb(handed.features, ws[:, block.first_row + len(block.convs())])
    assert isinstance(rgb, Tensor)
    return rgb if under is None else rgb + upsample(under)


def _finish(generator: Generator, ws: Tensor, noise: Noise, after: BlockOutput) -> Tensor:
    rgb = after.rgb
    for out in generator.synthesis.walk(ws, noise, after):
        rgb = out.rgb
    return rgb


def _check_choice(name: str, value: str) -> None:
    if value not in ("source", "target"):
        raise ValueError(f"{name}: found {value!r}, expected 'source' or 'target'")


def _check_pair(source: Generator, target: Generator) -> None:
    ours = {name: list(tensor.shape) for name, tensor in source.state_dict().items()}
    theirs = {name: list(tensor.shape) for name, tensor in target.state_dict().items()}
    if ours == theirs:
        return
    name = next(name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name))
    raise ValueError(
        f"source and target differ in architecture, first at {name}: {ours.get(name)} and {theirs.get(name)}; "
        f"expected the same for both (source {source.config}, target {target.config})"
    )
