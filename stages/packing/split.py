"""Divide crops into training and held-out images, so that nothing held out has a near copy in training."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import BudgetError

MOST = 1.25  # times the wanted number that may be held out, so that the border need not move with every image


@dataclass(frozen=True)
class SplitSettings:
    """How much is held out."""

    heldout_fraction: float  # share of the images that training never sees
    min_heldout: int  # images; fewer cannot be measured against

    def __post_init__(self) -> None:
        """Refuse a division that leaves one part empty."""
        if not 0 < self.heldout_fraction < 1:
            raise ValueError(f"heldout_fraction must be in (0, 1), found {self.heldout_fraction}")
        if self.min_heldout < 1:
            raise ValueError(f"min_heldout must be at least 1, found {self.min_heldout}")


@dataclass(frozen=True)
class Family:
    """Groups that must not be divided between the parts: alike crops are in them."""

    place: float  # in [0, 1): from a hash of the names, so from nothing else
    groups: tuple[str, ...]
    crops: tuple[str, ...]


def split(
    crops: Mapping[str, Mapping[str, Any]], alike: Sequence[Sequence[str]], settings: SplitSettings, where: Path
) -> dict[str, list[str]]:
    """Divide crops into ``train`` and ``heldout`` by group (episode, clip, page), never within one.

    Groups with alike crops form a family and stay together. Every family has a place in [0, 1), a hash of the name of
    one of its groups. Held out are the first ones by place: as many as are wanted, and those placed below
    ``heldout_fraction`` until a quarter more than wanted is held out. A family of more crops than are wanted in all
    comes last, lest one film fills the held-out part.

    So when episodes are added, old ones keep their side but for a few at the border: all that move lie behind all that
    stay held out, and they all move the same way. Groups that a new near copy joins go where the first of them is.

    Args:
        crops: name -> entry with its ``group``.
        alike: names of crops that show nearly the same picture.
        settings: share and least number of held-out images.
        where: the folder of the crops, for messages.

    Raises: BudgetError if there are too few images, or too few families, for both parts.
    """
    wanted = max(settings.min_heldout, math.ceil(settings.heldout_fraction * len(crops)))
    held: list[Family] = []
    taken = 0
    found = families(crops, alike)
    for family in sorted(found, key=lambda one: (len(one.crops) > wanted, one.place)):
        size = len(family.crops)
        placed = family.place < settings.heldout_fraction and taken + size <= MOST * wanted
        if taken >= wanted and not placed:
            break
        held.append(family)
        taken += size
    train = len(crops) - taken
    if taken < wanted or train < settings.min_heldout:
        raise BudgetError(_too_few(where, crops, found, wanted, settings.min_heldout))
    heldout = {name for family in held for name in family.crops}
    return {"train": sorted(set(crops) - heldout), "heldout": sorted(heldout)}


def families(crops: Mapping[str, Mapping[str, Any]], alike: Iterable[Sequence[str]]) -> list[Family]:
    """Join the groups of alike crops, directly or through others."""
    members = defaultdict(list)
    for name in sorted(crops):
        members[str(crops[name]["group"])].append(name)
    first = {group: group for group in members}

    def root(group: str) -> str:
        while first[group] != group:
            first[group] = group = first[first[group]]
        return group

    for names in alike:
        roots = [root(str(crops[name]["group"])) for name in names if name in crops]  # others were dropped since
        for other in roots[1:]:
            first[root(other)] = root(roots[0])
    joined = defaultdict(list)
    for group in sorted(members):
        joined[root(group)].append(group)
    return [
        Family(min(map(place, groups)), tuple(groups), tuple(name for group in groups for name in members[group]))
        for groups in joined.values()
    ]


def place(group: str) -> float:
    """Return the place of a group in [0, 1)."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def _too_few(
    where: Path, crops: Mapping[str, Mapping[str, Any]], found: Sequence[Family], wanted: int, least: int
) -> str:
    groups = sum(len(family.groups) for family in found)
    joined = "" if len(found) == groups else f" (joined to {len(found)} by near copies, see near_duplicates)"
    largest = max((len(family.crops) for family in found), default=0)
    return (
        f"{where}: {len(crops)} crops from {groups} groups{joined} are too few: at least {wanted} are held out "
        f"(lmdb.min_heldout, lmdb.heldout_fraction), whole groups each, and at least {least} must be left for "
        f"training; the largest family has {largest}: add episodes or pages, find more faces, exclude near copies, or "
        "lower these numbers"
    )
