"""Many exchanges in one pass: the bits of separate full passes, and nothing computed twice."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.blend.kinds import FeatureExchange, Kind, Side, WeightExchange, other
from model.blend.sweep import Sweep, inject_features, picture, whole
from model.blend.weights import mix_weights
from model.networks.generator import Generator, SynthesisBlock
from tests.blend.pairs import (
    CONFIGS,
    SIDES,
    alone,
    equal,
    every_kind,
    levels_with_ends,
    pair,
    state,
    styles,
    tuned_from,
)

pytestmark = pytest.mark.slow

CONFIG = CONFIGS["32 px"]
LEVELS = (4, 8, 16)


def sweep_of(nets: tuple[Generator, Generator], kinds: dict[str, Kind]) -> Sweep:
    mixed: dict[tuple[int, float], Generator] = {}
    for kind in kinds.values():
        for at in levels_with_ends(kind, nets[0].config):
            if not isinstance(kind, FeatureExchange):
                blend = kind.blend(at, nets[0].config.resolutions)
                mixed |= dict.fromkeys(blend.mixed, mix_weights(*nets, blend))
    return Sweep(*nets, mixed)


@contextmanager
def counted() -> Iterator[Counter[SynthesisBlock]]:
    """Count how often the convolutions of every block run."""
    ran: Counter[SynthesisBlock] = Counter()
    features = SynthesisBlock.features

    def counting(self: SynthesisBlock, *inputs: object) -> Tensor:
        ran[self] += 1
        return features(self, *inputs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SynthesisBlock, "features", counting)
        yield ran


@torch.no_grad()
@pytest.mark.parametrize(("name", "n"), zip(CONFIGS, (3, 2, 1), strict=True))
def test_one_pass_over_everything_has_the_bits_of_separate_full_passes(name: str, n: int) -> None:
    config = CONFIGS[name]
    nets, kinds = pair(config), every_kind(config)
    ws, noise = styles(*nets, n), nets[0].synthesis.const_noise()
    asked: list[tuple[str, int, Side | None]] = [
        (name, at, w) for name, kind in kinds.items() for at in levels_with_ends(kind, config) for w in ("source", None)
    ]
    wanted = [picture(kinds[name], at, config.resolutions, w) for name, at, w in asked]
    drawn = sweep_of(nets, kinds).draw(wanted, ws, noise)
    for (name, at, w), images in zip(asked, drawn, strict=True):
        assert torch.equal(images, alone(nets, kinds[name], at, ws, w)), (name, at, w)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in every_kind(CONFIG) if "schedule" not in name])
def test_the_ends_of_every_kind_are_the_parents_pictures_bit_for_bit(name: str) -> None:
    nets, kind = pair(), every_kind(CONFIG)[name]
    assert isinstance(kind, (WeightExchange, FeatureExchange))
    ws, noise = styles(*nets), nets[0].synthesis.const_noise()
    wanted = [picture(kind, at, CONFIG.resolutions) for at in (0, 32)]
    parents: dict[Side, Generator] = {"source": nets[0], "target": nets[1]}
    for side, images in zip((other(kind.low), kind.low), Sweep(*nets).draw(wanted, ws, noise), strict=True):
        assert torch.equal(images, parents[side].synthesis(ws[side], noise))


@torch.no_grad()
def test_hard_switches_run_every_prefix_and_every_suffix_of_the_parents_once_and_no_blended_network() -> None:
    nets = pair()
    ws = styles(*nets)
    hard = WeightExchange("weights", "source", None, "low")
    features = FeatureExchange("features", "source", "source")
    one_w = [picture(kind, at, CONFIG.resolutions, "source") for kind in (hard, features) for at in LEVELS]
    ends = [whole(side, "source", CONFIG.resolutions) for side in SIDES]
    with counted() as ran:
        first, last, *rest = Sweep(*nets).draw([*ends, *one_w], ws, nets[0].synthesis.const_noise())
    runs = {side: [ran[net.synthesis.block(r)] for r in (4, 8, 16, 32)] for side, net in zip(SIDES, nets, strict=True)}
    # The target's block of r px goes on from every level below r, and once from its own beginning.
    assert runs == {"source": [1, 1, 1, 1], "target": [1, 2, 3, 4]}
    assert all(a is b for a, b in zip(rest[:3], rest[3:], strict=True))
    assert len({one.sum().item() for one in (first, last, *rest[:3])}) == 5


@torch.no_grad()
def test_fading_kinds_share_the_blocks_that_are_one_parents_own() -> None:
    nets, shares = pair(), {"4": 0.0, "8": 0.0, "16": 0.5, "32": 1.0}
    kinds = every_kind(CONFIG)
    kinds = {
        "a": replace(kinds["schedule source"], shares=shares),
        "b": replace(kinds["schedule source"], shares={**shares, "32": 0.0}),
    }  # type: ignore[call-arg]
    sweep = sweep_of(nets, kinds)
    wanted = [picture(kind, 0, CONFIG.resolutions) for kind in kinds.values()]
    with counted() as ran:
        list(
            sweep.draw(
                [whole("source", "source", CONFIG.resolutions), *wanted], styles(*nets), nets[0].synthesis.const_noise()
            )
        )
    assert [ran[nets[0].synthesis.block(r)] for r in (4, 8, 16, 32)] == [1, 1, 1, 2]
    assert sum(ran.values()) == 4 + 2 + 1  # the source, the mixed block of 16 px once, a block of 32 px for each


@torch.no_grad()
def test_blocks_and_styles_that_never_trained_are_drawn_once_for_both_generators() -> None:
    source, _ = pair()
    tuned = tuned_from(source, (16, 32))
    nets, ws = (source, tuned), styles(source, source)
    kinds = {name: kind for name, kind in every_kind(CONFIG).items() if "0.7" not in name and "schedule" not in name}
    asked = [(kind, at) for kind in kinds.values() for at in (4, 8)]
    wanted = [whole("source", "source", CONFIG.resolutions), whole("target", "target", CONFIG.resolutions)]
    wanted += [picture(kind, at, CONFIG.resolutions) for kind, at in asked]
    with counted() as ran:
        _, _, *rest = Sweep(*nets).draw(wanted, ws, source.synthesis.const_noise())
    assert [sum(ran[net.synthesis.block(r)] for net in nets) for r in (4, 8, 16, 32)] == [1, 1, 2, 2]
    for (kind, at), images in zip(asked, rest, strict=True):
        assert torch.equal(images, alone(nets, kind, at, ws, None))


@torch.no_grad()
@pytest.mark.parametrize("low", SIDES)
@pytest.mark.parametrize("skip", SIDES)
def test_handing_over_between_equal_networks_is_the_identity(low: Side, skip: Side) -> None:
    source, _ = pair()
    ws, noise = styles(source, source), source.synthesis.const_noise()
    drawn = source.synthesis(ws["source"], noise)
    for at in (0, 4, 8, 16, 32):
        assert torch.equal(inject_features(source, source, ws, noise, at=at, low=low, rgb_skip=skip), drawn)


@torch.no_grad()
def test_drawing_changes_no_weight() -> None:
    nets = pair()
    before = state(nets[0]), state(nets[1])
    wanted = [
        picture(kind, at, CONFIG.resolutions)
        for kind in every_kind(CONFIG).values()
        for at in levels_with_ends(kind, CONFIG)
    ]
    list(sweep_of(nets, every_kind(CONFIG)).draw(wanted, styles(*nets), nets[0].synthesis.const_noise()))
    assert equal(before[0], state(nets[0]))
    assert equal(before[1], state(nets[1]))


@torch.no_grad()
def test_nothing_is_kept_longer_than_a_later_picture_needs_it() -> None:
    nets = pair()
    ws, n = styles(*nets, n=7), 7
    kinds = [FeatureExchange("features", "source", skip) for skip in SIDES]
    wanted = [picture(kind, at, CONFIG.resolutions) for kind in kinds for at in LEVELS]
    channels = []
    for _ in Sweep(*nets).draw(wanted, ws, nets[0].synthesis.const_noise()):
        alive = (one for one in gc.get_objects() if type(one) is Tensor and one.ndim == 4 and len(one) == n)
        channels.append(sorted(one.shape[1] for one in alive if one.shape[1] == 3 or one.shape[2] == 32))
    # Never the largest features (8 channels), though both kinds read them; after the last picture nothing but itself.
    assert all(set(some) == {3} for some in channels)
    assert [len(some) for some in channels][-1] == 1


@torch.no_grad()
def test_the_rgb_skip_says_whose_colours_go_on() -> None:
    source, target = pair()
    for conv in (*source.synthesis.convs(), *target.synthesis.convs()):
        conv.weight.zero_()  # no features: the picture is the sum of the RGB biases
        conv.bias.zero_()
        conv.noise_strength.zero_()
    for generator, value in ((source, 1.0), (target, 10.0)):
        for r in generator.config.resolutions:
            generator.synthesis.block(r).to_rgb.bias.fill_(value)
    ws, noise = styles(source, target), source.synthesis.const_noise()
    for low, skip, middle in (
        ("source", "source", 2 * 1.0 + 2 * 10.0), ("source", "target", 4 * 10.0),
        ("target", "target", 2 * 10.0 + 2 * 1.0), ("target", "source", 4 * 1.0),
    ):  # fmt: skip
        drawn = inject_features(source, target, ws, noise, at=8, low=low, rgb_skip=skip)  # type: ignore[arg-type]
        assert drawn[..., 12:20, 12:20].mean().item() == pytest.approx(middle, rel=1e-5)


def test_what_cannot_be_drawn_is_refused() -> None:
    nets, kinds = pair(), every_kind(CONFIG)
    ws, noise = styles(*nets), nets[0].synthesis.const_noise()
    with pytest.raises(ValueError, match=r"at: found 64 px, expected one of \[0, 4, 8, 16, 32\]"):
        inject_features(*nets, ws, noise, at=64, rgb_skip="source")
    with pytest.raises(ValueError, match="differ in architecture, first at"):
        Sweep(nets[0], pair(CONFIGS["64 px, one width"])[1])
    wanted = picture(kinds["schedule source"], 0, CONFIG.resolutions)
    with pytest.raises(ValueError, match=r"no generator was given whose block of 16 px has 0\.25 of the target"):
        next(Sweep(*nets).draw([wanted], ws, noise))
