"""The division: whole groups, near copies together, and old groups where they were when new ones appear."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BudgetError
from stages.packing.split import MOST, SplitSettings, families, place, split

FACES = Path("faces")
SETTINGS = SplitSettings(heldout_fraction=0.2, min_heldout=3)
GROUPS = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 9), min_size=2, max_size=40)


def crops_of(groups: dict[str, int]) -> dict[str, dict[str, str]]:
    return {f"{group}\n{index}": {"group": group} for group, count in groups.items() for index in range(count)}


def heldout(groups: dict[str, int], alike: list[list[str]] | None = None) -> set[str]:
    crops = crops_of(groups)
    return {crops[name]["group"] for name in split(crops, alike or [], SETTINGS, FACES)["heldout"]}


def wanted(groups: dict[str, int]) -> int:
    return max(SETTINGS.min_heldout, math.ceil(SETTINGS.heldout_fraction * sum(groups.values())))


def named(below: float, above: float, count: int) -> list[str]:
    """Names of groups with a place in [below, above)."""
    names = (f"episode {number}" for number in range(100_000))
    return [name for name in names if below <= place(name) < above][:count]


@given(GROUPS)
def test_the_division_depends_on_names_alone_and_keeps_groups_whole(groups: dict[str, int]) -> None:
    crops = crops_of(groups)
    try:
        parts = split(crops, [], SETTINGS, FACES)
    except BudgetError:
        return
    assert parts == split(dict(reversed(crops.items())), [], SETTINGS, FACES)
    assert sorted(parts["train"] + parts["heldout"]) == sorted(crops)
    held = {crops[name]["group"] for name in parts["heldout"]}
    assert not held & {crops[name]["group"] for name in parts["train"]}
    assert len(parts["heldout"]) >= wanted(groups)
    assert len(parts["train"]) >= SETTINGS.min_heldout


SMALL = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 3), min_size=5, max_size=60)


@given(SMALL, SMALL)
def test_of_the_old_groups_only_some_at_the_border_move_and_all_the_same_way(
    old: dict[str, int], new: dict[str, int]
) -> None:
    try:
        before, after = heldout(old), heldout({**new, **old}) & set(old)
    except BudgetError:
        return
    assert before <= after or after <= before
    assert all(place(stays) < place(moves) for moves in before ^ after for stays in before & after)


def test_ten_new_episodes_a_week_move_few_old_ones_in_a_year() -> None:
    moved, episodes = 0, {f"episode {number}": 10 for number in range(200)}
    before = first = heldout(episodes)
    for week in range(52):
        new = {f"episode {200 + week * 10 + number}": 10 for number in range(10)}
        episodes |= new
        after = heldout(episodes)
        moved += len((before ^ after) - set(new))
        before = after
    assert len(first - before) <= 0.1 * len(first)
    assert moved <= 52  # one a week


def test_at_least_the_share_and_at_least_the_number_are_held_out() -> None:
    small, large = {f"e{n}": 5 for n in range(40)}, {f"e{n}": 5 for n in range(400)}
    settings = SplitSettings(0.1, 50)
    for groups, least in ((small, 50), (large, 200)):
        parts = split(crops_of(groups), [], settings, FACES)
        assert least <= len(parts["heldout"]) <= MOST * least + 5


def test_one_giant_group_is_trained_on_even_if_its_place_is_first() -> None:
    (giant,) = named(0, 0.01, 1)
    groups = {giant: 500, **dict.fromkeys(named(0.3, 0.9, 30), 10)}
    assert giant not in heldout(groups)
    assert 160 <= sum(groups[name] for name in heldout(groups)) < 180


def test_two_giants_alone_are_divided() -> None:
    first, second = named(0.1, 0.2, 1) + named(0.5, 0.6, 1)
    assert heldout({second: 400, first: 500}) == {first}


def test_many_groups_with_low_places_do_not_empty_the_training_part() -> None:
    low = named(0, 0.2, 5)
    held = heldout(dict.fromkeys(low, 10))
    assert len(held) == 1


def test_near_copies_never_end_up_on_both_sides() -> None:
    low, high = named(0.0, 0.05, 3), named(0.4, 0.9, 40)
    groups = dict.fromkeys([*low, *high], 4)
    alike = [[f"{high[0]}\n0", f"{low[0]}\n3"], [f"{high[1]}\n1", f"{high[0]}\n2", f"{high[2]}\n0"]]
    assert set(low) <= heldout(groups)
    held = heldout(groups, alike)
    assert {low[0], high[0], high[1], high[2]} <= held
    parts = split(crops_of(groups), alike, SETTINGS, FACES)
    for names in alike:
        assert len({name in parts["heldout"] for name in names}) == 1


@given(GROUPS, st.data())
def test_any_near_copies_are_on_one_side(groups: dict[str, int], data: st.DataObject) -> None:
    crops = crops_of(groups)
    alike = data.draw(st.lists(st.lists(st.sampled_from(sorted(crops)), min_size=2, max_size=4), max_size=6))
    try:
        parts = split(crops, alike, SETTINGS, FACES)
    except BudgetError:
        return
    held = set(parts["heldout"])
    assert all(len({name in held for name in names}) == 1 for names in alike)


def test_near_copies_that_were_dropped_since_join_nothing_but_those_left() -> None:
    crops = crops_of({"a": 1, "b": 1, "c": 1})
    found = families(crops, [["gone", "a\n0"], ["gone too", "b\n0", "c\n0"]])
    assert sorted(family.groups for family in found) == [("a",), ("b", "c")]


def test_a_family_is_placed_by_its_first_member_so_what_was_held_out_stays() -> None:
    (low,), (high,) = named(0.0, 0.1, 1), named(0.8, 0.9, 1)
    (family,) = families(crops_of({low: 1, high: 1}), [[f"{high}\n0", f"{low}\n0"]])
    assert family.place == place(low) == min(place(low), place(high))


@pytest.mark.parametrize("groups", [{}, {"only": 40}, {"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}])
def test_too_few_images_or_groups_are_refused_with_the_numbers(groups: dict[str, int]) -> None:
    with pytest.raises(BudgetError, match=rf"{sum(groups.values())} crops from {len(groups)} groups .*min_heldout"):
        split(crops_of(groups), [], SETTINGS, FACES)


def test_groups_that_near_copies_join_to_one_are_refused_with_the_reason() -> None:
    groups = dict.fromkeys("abcdef", 5)
    with pytest.raises(BudgetError, match=r"6 groups \(joined to 1 by near copies.* exclude near copies"):
        split(crops_of(groups), [[f"{name}\n0" for name in groups]], SETTINGS, FACES)
