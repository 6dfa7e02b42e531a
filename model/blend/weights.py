"""A generator made from the weights of two."""

from __future__ import annotations

import copy

import torch

from model.blend.kinds import Blend, Carrier, Side, WeightExchange
from model.networks.generator import Generator


def levels(generator: Generator) -> tuple[int, ...]:
    """Return every swap level of ``generator``, in px: 0, 4, 8, ... resolution."""
    return (0, *generator.config.resolutions)


def swap_layers(
    source: Generator,
    target: Generator,
    *,
    at: int,
    low: Side = "source",
    width: float | None = None,
    mapping: Carrier = "low",
) -> Generator:
    """Build a generator from the weights of two: coarse blocks of one, fine blocks of the other.

    Args:
        source: the generator that was fine-tuned from.
        target: the fine-tuned generator, same architecture.
        at: px; the blocks up to and including this size come from ``low``. 0 gives the other generator whole (its
            mapping too), the resolution gives ``low`` whole.
        low: which generator draws the coarse blocks.
        width: None switches hard at ``at``; a number, in doublings of the resolution, fades.
        mapping: whose mapping network and mean w go along between the ends.

    Returns: a new generator on the device of ``source``; neither argument is changed.
    Raises: ValueError for a level that does not exist, a width that is not positive, or two architectures.
    Source: Pinkney and Adler 2020, section 2.
    """
    kind = WeightExchange("weights", low, width, mapping)
    return mix_weights(source, target, kind.blend(at, source.config.resolutions))


def mix_weights(source: Generator, target: Generator, blend: Blend) -> Generator:
    """Build the generator that ``blend`` describes; see :func:`swap_layers`."""
    check_pair(source, target)
    plan = tensor_shares(source, blend)
    mixed = copy.deepcopy(source).eval()
    theirs = target.state_dict()
    with torch.no_grad():
        for name, tensor in mixed.state_dict().items():
            share = plan[name]
            if share == 1.0:
                tensor.copy_(theirs[name])
            elif share > 0.0:
                tensor.lerp_(theirs[name].to(tensor), share)
    return mixed


def tensor_shares(generator: Generator, blend: Blend) -> dict[str, float]:
    """Return the target's share in every tensor: 0 source, 1 target.

    Each name is decided by exactly one rule: its block's, or the mapping's.
    """
    plan = {}
    for name in generator.state_dict():
        resolution = _resolution_of(name)
        if resolution is None:
            plan[name] = float(blend.mapping == "target")
        elif name.endswith("noise_const"):  # a mean of two noise maps would be weaker noise
            plan[name] = float(blend.blocks[resolution] > 0.5)
        else:
            plan[name] = blend.blocks[resolution]
    return plan


def check_pair(source: Generator, target: Generator) -> None:
    """Refuse two architectures; ValueError."""
    ours = {name: list(tensor.shape) for name, tensor in source.state_dict().items()}
    theirs = {name: list(tensor.shape) for name, tensor in target.state_dict().items()}
    if ours == theirs:
        return
    name = next(name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name))
    raise ValueError(
        f"source and target differ in architecture, first at {name}: {ours.get(name)} and {theirs.get(name)}; "
        f"expected the same for both (source {source.config}, target {target.config})"
    )


def _resolution_of(name: str) -> int | None:
    """Return the block (px) a tensor belongs to, None for the mapping network and the mean w."""
    parts = name.split(".")
    if parts[0] in ("mapping", "w_avg"):
        return None
    if name == "synthesis.const":
        return 4
    if parts[:2] == ["synthesis", "blocks"]:
        return int(parts[2])
    raise ValueError(f"{name}: belongs to no block and not to the mapping; model/blend/weights.py needs a rule for it")
