"""The kinds of exchange: who draws which block, whose mapping goes along, and what is refused."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.blend.kinds import Blend, FeatureExchange, Kind, Schedule, Side, WeightExchange, kind_of, levels_of
from tests.blend.pairs import CONFIGS, SIDES, every_kind

BLOCKS = (4, 8, 16, 32)


def blend(at: int, low: Side = "source", width: float | None = None, mapping: Any = "low") -> Blend:
    return WeightExchange("weights", low, width, mapping).blend(at, BLOCKS)


@pytest.mark.parametrize("at", BLOCKS[:-1])
@pytest.mark.parametrize("low", SIDES)
def test_a_hard_switch_takes_blocks_up_to_the_level_from_low_and_the_others_from_the_other(at: int, low: Side) -> None:
    of_target = {r: (r <= at) == (low == "target") for r in BLOCKS}
    assert blend(at, low).blocks == {r: float(share) for r, share in of_target.items()}
    assert blend(at, low).mixed == []


@given(at=st.sampled_from((0, *BLOCKS)), low=st.sampled_from(SIDES), width=st.none() | st.floats(0.01, 100))
def test_shares_are_in_range_and_the_fine_generators_rises_with_the_resolution(
    at: int, low: Side, width: float | None
) -> None:
    shares = [blend(at, low, width).blocks[r] for r in BLOCKS]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert shares == sorted(shares, reverse=low == "target")


def test_a_width_fades_with_the_logistic_curve_and_a_small_one_is_the_hard_switch() -> None:
    for r, share in blend(8, width=0.5).blocks.items():
        assert share == pytest.approx(1 / (1 + math.exp(-(math.log2(r / 8) - 0.5) / 0.5)), abs=1e-12)
    for r, share in blend(8, "target", width=0.5).blocks.items():
        assert share == pytest.approx(1 - blend(8, width=0.5).blocks[r], abs=1e-12)
    assert blend(8, width=1e-6) == blend(8)
    assert {r for r, _ in blend(8, width=0.5).mixed} == set(BLOCKS)


@pytest.mark.parametrize("low", SIDES)
@pytest.mark.parametrize("width", [None, 1.0])
@pytest.mark.parametrize("mapping", ["low", "high", "source", "target"])
def test_whose_mapping_goes_along_is_as_told_between_the_ends_and_the_parents_own_at_them(
    low: Side, width: float | None, mapping: Any
) -> None:
    high: Side = "target" if low == "source" else "source"
    assert blend(8, low, width, mapping).mapping == {"low": low, "high": high}.get(mapping, mapping)
    assert blend(0, low, width, mapping) == Blend(dict.fromkeys(BLOCKS, float(high == "target")), high)
    assert blend(32, low, width, mapping) == Blend(dict.fromkeys(BLOCKS, float(low == "target")), low)


def test_a_schedule_is_what_it_says_at_one_level() -> None:
    kind = Schedule("schedule", {"16": 0.6, "4": 0.0, "32": 1.0, "8": 0.25}, "target")
    assert kind.blend(0, BLOCKS) == Blend({4: 0.0, 8: 0.25, 16: 0.6, 32: 1.0}, "target")
    assert kind.blend(0, BLOCKS).mixed == [(8, 0.25), (16, 0.6)]
    assert levels_of(kind, (8, 16)) == (0,)
    assert levels_of(FeatureExchange("features", "source", "source"), (8, 16)) == (8, 16)


@pytest.mark.parametrize("kind", every_kind(CONFIGS["32 px"]).values(), ids=str)
def test_a_kind_survives_being_written_down(kind: Kind) -> None:
    assert kind_of(asdict(kind)) == kind


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"4": 0.0, "8": 1.0}, "shares: found blocks of [4, 8] px, expected each of [4, 8, 16, 32] once"),
        (
            {"4": 0.0, "8": 1.0, "16": 0.0, "32": 0.0, "64": 0.0},
            "shares: found blocks of [4, 8, 16, 32, 64] px, expected each of [4, 8, 16, 32] once",
        ),
        ({}, "shares: found blocks of [] px"),
        ({"08": 0.0}, "shares: found the block '08', expected a size in px as in '8'"),
        ({"4 px": 0.0}, "shares: found the block '4 px', expected a size in px as in '8'"),
        ({"8": 1.5}, "shares: found 1.5 for the block of 8 px, expected 0 (source) to 1 (target)"),
        ({"8": math.nan}, "shares: found nan for the block of 8 px"),
    ],
)
def test_a_schedule_that_does_not_name_every_block_once_with_a_share_is_refused(
    shares: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Schedule("schedule", shares, "source").blend(0, BLOCKS)


def test_errors_name_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"at: found 12 px, expected one of \[0, 4, 8, 16, 32\]"):
        blend(12)
    with pytest.raises(ValueError, match="at: found 8 px; a schedule has no levels, expected 0"):
        Schedule("schedule", dict.fromkeys(map(str, BLOCKS), 0.5), "source").blend(8, BLOCKS)
    with pytest.raises(ValueError, match="low: found 'left', expected 'source' or 'target'"):
        blend(8, "left")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mapping: found 'both', expected 'low', 'high', 'source' or 'target'"):
        blend(8, mapping="both")
    with pytest.raises(ValueError, match="mapping: found 'low', expected 'source' or 'target'"):
        Schedule("schedule", {}, "low")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rgb_skip: found 'both', expected 'source' or 'target'"):
        FeatureExchange("features", "source", "both")  # type: ignore[arg-type]
    for width in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="width: found"):
            blend(8, width=width)
