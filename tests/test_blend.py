"""Blending: what swap_layers takes from whom, and that inject_features touches no weight."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.blend import Side, inject_features, levels, swap_layers, swap_plan, sweep_features
from model.networks.generator import Generator
from tests.tiny import tiny_generator

SIDES: tuple[Side, Side] = ("source", "target")
LEVELS = (0, 4, 8, 16, 32)


def pair() -> tuple[Generator, Generator]:
    source, target = tiny_generator(0).eval(), tiny_generator(1).eval()
    source.w_avg.normal_()
    target.w_avg.normal_()
    return source, target


def state(generator: Generator) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def styles(generator: Generator, seed: int) -> Tensor:
    with torch.no_grad():
        return generator.broadcast(generator.mapping(torch.randn(2, 8, generator=torch.Generator().manual_seed(seed))))


def px(name: str) -> int | None:
    """Say which block a tensor belongs to, None for the mapping."""
    if name.startswith("synthesis.blocks."):
        return int(name.split(".")[2])
    return 4 if name == "synthesis.const" else None


@given(at=st.sampled_from(LEVELS), low=st.sampled_from(SIDES), width=st.none() | st.floats(0.01, 100))
def test_every_tensor_is_assigned_by_exactly_one_rule_and_shares_rise_with_the_resolution(
    at: int, low: Side, width: float | None
) -> None:
    generator = tiny_generator()
    plan = swap_plan(generator, at=at, low=low, width=width)
    assert plan.keys() == generator.state_dict().keys()
    assert all(0.0 <= share <= 1.0 for share in plan.values())
    fine = {name: share if low == "source" else 1 - share for name, share in plan.items()}
    by_block: dict[int | None, set[float]] = {}
    for name, share in fine.items():
        if not name.endswith("noise_const"):
            by_block.setdefault(px(name), set()).add(share)
    assert all(len(shares) == 1 for shares in by_block.values())
    mapping = by_block.pop(None)
    assert mapping == ({1.0} if at == 0 else {0.0})
    rising = [min(by_block[r]) for r in sorted(k for k in by_block if k is not None)]
    assert rising == sorted(rising)
    assert {share for name, share in fine.items() if name.endswith("noise_const")} <= {0.0, 1.0}


@pytest.mark.parametrize("at", LEVELS)
def test_source_draws_up_to_the_level_with_its_mapping_and_target_above(at: int) -> None:
    source, target = pair()
    ours, theirs = state(source), state(target)
    blend = swap_layers(source, target, at=at)
    for name, tensor in blend.state_dict().items():
        resolution = px(name)
        wanted = theirs if at == 0 or (resolution is not None and resolution > at) else ours
        assert torch.equal(tensor, wanted[name]), name
    assert equal(ours, state(source))
    assert equal(theirs, state(target))


@settings(max_examples=20, deadline=None)
@given(low=st.sampled_from(SIDES), width=st.none() | st.floats(0.1, 10))
def test_the_lowest_and_the_highest_level_give_the_parents_back_bit_for_bit(low: Side, width: float | None) -> None:
    source, target = pair()
    first, last = (target, source) if low == "source" else (source, target)
    assert equal(state(swap_layers(source, target, at=0, low=low, width=width)), state(first))
    assert equal(state(swap_layers(source, target, at=32, low=low, width=width)), state(last))


def test_the_other_direction_is_the_same_exchange_with_the_roles_turned() -> None:
    source, target = pair()
    for at in LEVELS:
        turned = swap_layers(target, source, at=at)
        assert equal(state(swap_layers(source, target, at=at, low="target")), state(turned))


def test_a_blend_shares_no_memory_with_its_parents() -> None:
    source, target = pair()
    before = state(source), state(target)
    blend = swap_layers(source, target, at=8)
    with torch.no_grad():
        for tensor in blend.state_dict().values():
            tensor.add_(1.0)
    assert equal(before[0], state(source))
    assert equal(before[1], state(target))


def test_a_width_fades_with_the_logistic_curve_and_a_small_one_is_the_hard_switch() -> None:
    source, target = pair()
    soft, ours, theirs = swap_layers(source, target, at=8, width=0.5).state_dict(), state(source), state(target)
    for r in (4, 8, 16, 32):
        y = 1 / (1 + math.exp(-(math.log2(r / 8) - 0.5) / 0.5))
        name = f"synthesis.blocks.{r}.conv1.weight"
        assert torch.allclose(soft[name], (1 - y) * ours[name] + y * theirs[name], atol=1e-6)
    hard = swap_layers(source, target, at=8)
    assert equal(state(swap_layers(source, target, at=8, width=1e-6)), state(hard))


@torch.no_grad()
def test_injecting_features_changes_no_weight() -> None:
    source, target = pair()
    before = state(source), state(target)
    for skip in SIDES:
        sweep_features(
            source, target, styles(source, 0), styles(target, 0), source.synthesis.const_noise(), LEVELS, skip
        )
    assert equal(before[0], state(source))
    assert equal(before[1], state(target))


@torch.no_grad()
def test_injection_at_the_ends_gives_the_parents_pictures() -> None:
    source, target = pair()
    ours, theirs, noise = styles(source, 0), styles(target, 0), source.synthesis.const_noise()
    for skip in SIDES:
        first = inject_features(source, target, ours, theirs, noise, at=0, rgb_skip=skip)
        assert torch.equal(first, target.synthesis(theirs, noise))
    last = inject_features(source, target, ours, theirs, noise, at=32, rgb_skip="source")
    assert torch.equal(last, source.synthesis(ours, noise))


@torch.no_grad()
@pytest.mark.parametrize("skip", SIDES)
def test_injection_between_equal_networks_is_the_identity(skip: Side) -> None:
    source, _ = pair()
    ws, noise = styles(source, 3), source.synthesis.const_noise()
    whole = source.synthesis(ws, noise)
    for picture in sweep_features(source, source, ws, ws, noise, LEVELS, skip).values():
        assert torch.equal(picture, whole)


@torch.no_grad()
@pytest.mark.parametrize("skip", SIDES)
def test_a_sweep_equals_single_injections_bit_for_bit(skip: Side) -> None:
    source, target = pair()
    ours, theirs, noise = styles(source, 0), styles(target, 0), source.synthesis.const_noise()
    sweep = sweep_features(source, target, ours, theirs, noise, (32, 8, 0, 16, 4), skip)
    assert list(sweep) == [32, 8, 0, 16, 4]
    for at, picture in sweep.items():
        assert torch.equal(picture, inject_features(source, target, ours, theirs, noise, at=at, rgb_skip=skip))
    assert len({picture.sum().item() for picture in sweep.values()}) == len(sweep)


@torch.no_grad()
def test_with_one_w_both_exchanges_with_the_source_skip_draw_the_same_picture() -> None:
    source, target = pair()
    ws, noise = styles(source, 0), source.synthesis.const_noise()
    for at in LEVELS[1:]:
        blend = swap_layers(source, target, at=at)
        injected = inject_features(source, target, ws, ws, noise, at=at, rgb_skip="source")
        assert torch.equal(blend.synthesis(ws, noise), injected)


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
    ws, noise = styles(source, 0), source.synthesis.const_noise()
    for skip, middle in (("source", 2 * 1.0 + 2 * 10.0), ("target", 4 * 10.0)):
        picture = inject_features(source, target, ws, ws, noise, at=8, rgb_skip=skip)  # type: ignore[arg-type]
        assert picture[..., 12:20, 12:20].mean().item() == pytest.approx(middle, rel=1e-5)


def test_errors_name_what_is_allowed() -> None:
    source, target = pair()
    ws, noise = styles(source, 0), source.synthesis.const_noise()
    assert levels(source) == LEVELS
    with pytest.raises(ValueError, match=r"at: found 12 px, expected one of \[0, 4, 8, 16, 32\]"):
        swap_layers(source, target, at=12)
    with pytest.raises(ValueError, match=r"at: found 64 px, expected one of \[0, 4, 8, 16, 32\]"):
        inject_features(source, target, ws, ws, noise, at=64, rgb_skip="source")
    with pytest.raises(ValueError, match="low: found 'left', expected 'source' or 'target'"):
        swap_layers(source, target, at=8, low="left")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rgb_skip: found 'both', expected 'source' or 'target'"):
        inject_features(source, target, ws, ws, noise, at=8, rgb_skip="both")  # type: ignore[arg-type]
    for width in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="width: found"):
            swap_layers(source, target, at=8, width=width)
    with pytest.raises(ValueError, match="differ in architecture, first at"):
        swap_layers(source, tiny_generator(resolution=64), at=8)
