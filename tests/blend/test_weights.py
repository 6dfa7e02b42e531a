"""Blended generators: what they take from whom."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.blend.kinds import Schedule, Side
from model.blend.weights import levels, mix_weights, swap_layers, tensor_shares
from tests.blend.pairs import CONFIGS, SIDES, equal, every_kind, levels_with_ends, pair, schedule, state
from tests.tiny import tiny_generator

LEVELS = (0, 4, 8, 16, 32)
CONFIG = CONFIGS["32 px"]
WEIGHT_KINDS = {name: kind for name, kind in every_kind(CONFIG).items() if not name.startswith("features")}


def px(name: str) -> int | None:
    """Say which block a tensor belongs to, None for the mapping."""
    if name.startswith("synthesis.blocks."):
        return int(name.split(".")[2])
    return 4 if name == "synthesis.const" else None


@pytest.mark.parametrize("name", WEIGHT_KINDS)
def test_every_tensor_follows_its_block_or_the_mapping_and_is_mixed_by_that_share(name: str) -> None:
    kind, (source, target) = WEIGHT_KINDS[name], pair()
    ours, theirs = state(source), state(target)
    for at in levels_with_ends(kind, CONFIG):
        blend = kind.blend(at, CONFIG.resolutions)  # type: ignore[union-attr]
        assert tensor_shares(source, blend).keys() == ours.keys()
        for tensor_name, tensor in mix_weights(source, target, blend).state_dict().items():
            r = px(tensor_name)
            share = float(blend.mapping == "target") if r is None else blend.blocks[r]
            if tensor_name.endswith("noise_const"):
                share = float(share > 0.5)  # a map of one parent: a mean would be weaker noise
            if share in (0.0, 1.0):
                assert torch.equal(tensor, (theirs if share else ours)[tensor_name]), tensor_name
            else:
                mean = (1 - share) * ours[tensor_name] + share * theirs[tensor_name]
                assert torch.allclose(tensor, mean, atol=1e-6), tensor_name
    assert equal(ours, state(source))
    assert equal(theirs, state(target))


@settings(max_examples=20, deadline=None)
@given(
    low=st.sampled_from(SIDES),
    width=st.none() | st.floats(0.1, 10),
    mapping=st.sampled_from(["low", "high", "source", "target"]),
)
def test_the_lowest_and_the_highest_level_give_the_parents_back_bit_for_bit(
    low: Side, width: float | None, mapping: str
) -> None:
    source, target = pair()
    first, last = (target, source) if low == "source" else (source, target)
    for at, parent in ((0, first), (32, last)):
        made = swap_layers(source, target, at=at, low=low, width=width, mapping=mapping)  # type: ignore[arg-type]
        assert equal(state(made), state(parent))


def test_a_schedule_of_one_parent_gives_it_back_bit_for_bit() -> None:
    source, target = pair()
    for share, side, parent in ((0.0, "source", source), (1.0, "target", target)):
        kind = Schedule("schedule", dict.fromkeys(("4", "8", "16", "32"), share), side)  # type: ignore[arg-type]
        assert equal(state(mix_weights(source, target, kind.blend(0, CONFIG.resolutions))), state(parent))


def test_the_other_direction_is_the_same_exchange_with_the_roles_turned() -> None:
    source, target = pair()
    for at in LEVELS:
        turned = swap_layers(target, source, at=at)
        assert equal(state(swap_layers(source, target, at=at, low="target")), state(turned))


def test_a_blend_shares_no_memory_with_its_parents() -> None:
    source, target = pair()
    before = state(source), state(target)
    blend = mix_weights(source, target, schedule(CONFIG).blend(0, CONFIG.resolutions))
    with torch.no_grad():
        for tensor in blend.state_dict().values():
            tensor.add_(1.0)
    assert equal(before[0], state(source))
    assert equal(before[1], state(target))


def test_two_architectures_are_refused_by_the_first_tensor_that_differs() -> None:
    source, target = tiny_generator(), tiny_generator(resolution=64)
    assert levels(source) == LEVELS
    with pytest.raises(
        ValueError, match=r"differ in architecture, first at synthesis\.blocks\.64\.conv0\.weight: None and"
    ):
        swap_layers(source, target, at=8)
