"""Levels are a ladder: the more blocks come from the source, the closer the picture is to the source's."""

from __future__ import annotations

import copy

import pytest
import torch

from model.blend.kinds import FeatureExchange, Kind, Side, WeightExchange
from model.blend.sweep import Sweep, picture, whole
from model.blend.weights import mix_weights
from model.checkpoint.native import load_generator
from model.networks.generator import Generator
from model.shipped import shipped
from tests.blend.pairs import SIDES


@pytest.fixture(scope="module")
def nets() -> tuple[Generator, Generator]:
    """Return the shipped source and a copy whose synthesis was disturbed everywhere."""
    source = load_generator(shipped("synthetic-photo-64"))
    tuned, random = copy.deepcopy(source), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in tuned.synthesis.parameters():
            parameter.add_(0.1 * parameter.abs() * torch.randn(parameter.shape, generator=random))
    return source, tuned


@torch.no_grad()
@pytest.mark.parametrize("low", SIDES)
@pytest.mark.parametrize("way", ["hard", "fading", "source's RGB", "target's RGB"])
def test_the_distance_to_the_source_falls_along_the_levels_of_the_source_and_rises_along_the_targets(
    nets: tuple[Generator, Generator], low: Side, way: str
) -> None:
    kind: Kind = FeatureExchange("features", low, "source" if way == "source's RGB" else "target")
    if way in ("hard", "fading"):
        kind = WeightExchange("weights", low, 1.0 if way == "fading" else None, "low")
    blocks = nets[0].config.resolutions
    mixed: dict[tuple[int, float], Generator] = {}
    for at in blocks:
        if isinstance(kind, WeightExchange) and (blend := kind.blend(at, blocks)).mixed:
            mixed |= dict.fromkeys(blend.mixed, mix_weights(*nets, blend))
    z = torch.randn(4, nets[0].config.z_dim, generator=torch.Generator().manual_seed(1))
    ws = nets[0].broadcast(nets[0].mapping(z))
    wanted = [whole("source", "source", blocks), *(picture(kind, at, blocks, "source") for at in (0, *blocks))]
    drawn = Sweep(*nets, mixed).draw(wanted, {"source": ws, "target": ws}, nets[0].synthesis.const_noise())
    first = next(drawn)
    distances = [(images - first).abs().mean().item() for images in drawn]
    assert len(set(distances)) == len(distances)
    assert distances == sorted(distances, reverse=low == "source")
    assert min(distances) == 0.0
    assert max(distances) > 0.05
