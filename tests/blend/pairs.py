"""A source, a generator tuned from it, and every kind of exchange between the two, drawn one by one and in full."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from model.blend.kinds import FeatureExchange, Kind, Schedule, Side, WeightExchange, other
from model.blend.weights import mix_weights
from model.networks.generator import Generator, GeneratorConfig
from model.ops.fir import upsample
from tests.tiny import tiny_generator

SIDES: tuple[Side, Side] = ("source", "target")
CONFIGS = {
    "32 px": GeneratorConfig(32, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16),
    "64 px, wide below": GeneratorConfig(64, z_dim=8, w_dim=12, mapping_layers=1, channel_base=512, channel_max=32),
    "64 px, one width": GeneratorConfig(64, z_dim=4, w_dim=8, mapping_layers=3, channel_base=4096, channel_max=16),
}


def pair(config: GeneratorConfig = CONFIGS["32 px"]) -> tuple[Generator, Generator]:
    """Two random generators that differ in every tensor, mean w and noise maps too."""
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        generator = Generator(config).eval()
        generator.w_avg.normal_()
        for conv in generator.synthesis.convs():
            torch.nn.init.normal_(conv.noise_strength, std=0.1)
            torch.nn.init.normal_(conv.bias, std=0.1)
        made.append(generator)
    return made[0], made[1]


def state(generator: Generator) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def styles(source: Generator, target: Generator, n: int = 2, seed: int = 0) -> dict[Side, Tensor]:
    """The w of the same z by both mapping networks."""
    z = torch.randn(n, source.config.z_dim, generator=torch.Generator().manual_seed(seed))
    return {"source": source.broadcast(source.mapping(z)), "target": target.broadcast(target.mapping(z))}


def schedule(config: GeneratorConfig, mapping: Side = "source") -> Schedule:
    """Source, mixed and target blocks, in no order."""
    cycle = itertools.cycle((0.0, 1.0, 0.25, 0.0, 0.6))
    return Schedule("schedule", {str(resolution): next(cycle) for resolution in config.resolutions}, mapping)


def every_kind(config: GeneratorConfig) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for low, width, mapping in itertools.product(SIDES, (None, 0.7), ("low", "high", "source", "target")):
        kinds[f"weights {low} {width} {mapping}"] = WeightExchange("weights", low, width, mapping)  # type: ignore[arg-type]
    for low, skip in itertools.product(SIDES, SIDES):
        kinds[f"features {low} {skip}"] = FeatureExchange("features", low, skip)
    return kinds | {f"schedule {mapping}": schedule(config, mapping) for mapping in SIDES}


def levels_with_ends(kind: Kind, config: GeneratorConfig) -> tuple[int, ...]:
    return (0,) if isinstance(kind, Schedule) else (0, *config.resolutions)


@torch.no_grad()
def alone(nets: tuple[Generator, Generator], kind: Kind, at: int, ws: Mapping[Side, Tensor], w: Side | None) -> Tensor:
    """One exchange by full passes of whole generators: the reference of everything that is shared."""
    source, target = nets
    noise, resolutions = source.synthesis.const_noise(), source.config.resolutions
    if not isinstance(kind, FeatureExchange):
        blend = kind.blend(at, resolutions)
        return mix_weights(source, target, blend).synthesis(ws[w or blend.mapping], noise)
    by_side: dict[Side, Generator] = {"source": source, "target": target}
    low, high = kind.low, other(kind.low)
    whole = {side: list(net.synthesis.walk(ws[w or side], noise)) for side, net in by_side.items()}
    if at in (0, resolutions[-1]):
        return whole[low if at else high][-1].rgb
    index = resolutions.index(at)
    x, rgb = whole[low][index].features, whole[low][index].rgb
    drawer, styled = by_side[high].synthesis, ws[w or high]
    if kind.rgb_skip == high:
        block = drawer.block(at)
        rgb = block.to_rgb(x, styled[:, block.first_row + len(block.convs())])
        rgb = rgb if index == 0 else rgb + upsample(whole[high][index - 1].rgb)
    for r in resolutions[index + 1 :]:
        block = drawer.block(r)
        rows = slice(block.first_row, block.first_row + 3)
        x, rgb = block(x, rgb, styled[:, rows], noise[block.first_row : block.first_row + 2])
    return rgb


def tuned_from(source: Generator, blocks: tuple[int, ...]) -> Generator:
    """A copy of ``source`` of which only ``blocks`` trained, as FreezeG leaves it; the mapping too stays."""
    tuned = tiny_generator(0, source.config.resolution).eval()
    tuned.load_state_dict(source.state_dict())
    with torch.no_grad():
        for r in blocks:
            for parameter in tuned.synthesis.block(r).parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(r)))
    return tuned
