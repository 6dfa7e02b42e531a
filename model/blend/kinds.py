"""Ways to mix a source generator with the one tuned from it: the kinds of ``swap.kinds`` in params.yaml.

A *level* ``at``, in px, divides the blocks: those up to and including ``at`` are coarse, those above fine. ``low`` says
who draws the coarse ones. "source" keeps the person's layout under the target's style; "target" puts the target's
shapes under the source's texture (Toonify).

Source: Pinkney and Adler 2020 (Resolution Dependent GAN Interpolation), section 2, for weights; bryandlee/FreezeG and
Cartoon-StyleGAN for activations (facts re-told, no code taken).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Side = Literal["source", "target"]
Carrier = Literal["low", "high", "source", "target"]  # whose mapping network; low = that of the coarse blocks


@dataclass(frozen=True)
class Blend:
    """What a blended generator is made of: nothing else decides about any of its tensors."""

    blocks: dict[int, float]  # block in px -> the target's share, 0 to 1
    mapping: Side  # whose mapping network and mean w

    @property
    def mixed(self) -> list[tuple[int, float]]:
        """The blocks that neither parent has, with their shares."""
        return [(r, share) for r, share in self.blocks.items() if 0.0 < share < 1.0]


@dataclass(frozen=True)
class WeightExchange:
    """The weights of whole blocks are exchanged, hard or fading."""

    mix: Literal["weights"]
    low: Side
    width: float | None  # null switches hard at the level; otherwise of a logistic fade, in doublings of the resolution
    mapping: Carrier

    def __post_init__(self) -> None:
        """Refuse what cannot be; ValueError."""
        check_choice("low", self.low, get_args(Side))
        check_choice("mapping", self.mapping, get_args(Carrier))
        if self.width is not None and not 0 < self.width < math.inf:
            raise ValueError(f"width: found {self.width}, expected a positive number of doublings, or none: hard")

    def blend(self, at: int, resolutions: Sequence[int]) -> Blend:
        """Return what the generator of a level is made of.

        A block of r px takes ``1 / (1 + exp(-(log2(r / at) - 1/2) / width))`` of the fine generator. Level 0 is the
        fine generator and the highest level the coarse one, each whole: its mapping network too.

        Raises: ValueError for a level that does not exist.
        """
        check_level(at, resolutions)
        whole, high = at in (0, resolutions[-1]), other(self.low)
        fine = {r: _fine_share(r, at, None if whole else self.width) for r in resolutions}
        if whole:
            mapping = self.low if at else high
        else:
            mapping = {"low": self.low, "high": high, "source": "source", "target": "target"}[self.mapping]
        return Blend({r: share if self.low == "source" else 1.0 - share for r, share in fine.items()}, mapping)


@dataclass(frozen=True)
class FeatureExchange:
    """One generator draws up to the level and hands its activations over; the other goes on. No weight changes.

    Each generator reads the w of its own mapping network (a comparison at one w gives both the same). The highest level
    is the coarse generator's picture, level 0 the fine one's: there is nobody to hand over to or from.
    """

    mix: Literal["features"]
    low: Side
    # Whose RGB goes on at the level. That of ``low``: its accumulated RGB moves over with the features (FreezeG's way).
    # The other's: its own RGB from below, to which its ToRGB adds what it reads in the features it was handed
    # (Cartoon-StyleGAN's way).
    rgb_skip: Side

    def __post_init__(self) -> None:
        """Refuse what cannot be; ValueError."""
        check_choice("low", self.low, get_args(Side))
        check_choice("rgb_skip", self.rgb_skip, get_args(Side))


@dataclass(frozen=True)
class Schedule:
    """Every block has a share of its own; there is one such generator, at level 0."""

    mix: Literal["schedule"]
    shares: dict[str, float]  # block in px -> the target's share, 0 to 1; every block once
    mapping: Side

    def __post_init__(self) -> None:
        """Refuse what cannot be; ValueError."""
        check_choice("mapping", self.mapping, get_args(Side))
        for name, share in self.shares.items():
            if not (name.isascii() and name.isdigit() and name == str(int(name))):
                raise ValueError(f"shares: found the block {name!r}, expected a size in px as in '8'")
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"shares: found {share} for the block of {name} px, expected 0 (source) to 1 (target)")

    def blend(self, at: int, resolutions: Sequence[int]) -> Blend:
        """Return what the generator is made of.

        Raises: ValueError unless every block of ``resolutions`` is named, and ``at`` is 0.
        """
        if at != 0:
            raise ValueError(f"at: found {at} px; a schedule has no levels, expected 0")
        found = sorted(int(name) for name in self.shares)
        if found != sorted(resolutions):
            raise ValueError(f"shares: found blocks of {found} px, expected each of {list(resolutions)} once")
        return Blend({r: float(self.shares[str(r)]) for r in resolutions}, self.mapping)


Kind = WeightExchange | FeatureExchange | Schedule
_CLASSES: dict[str, type[Kind]] = {"weights": WeightExchange, "features": FeatureExchange, "schedule": Schedule}


def kind_of(settings: Mapping[str, Any]) -> Kind:
    """Build a kind from its own settings, as a manifest keeps them (``dataclasses.asdict``)."""
    return _CLASSES[settings["mix"]](**settings)


def levels_of(kind: Kind, levels: Sequence[int]) -> tuple[int, ...]:
    """Return at which of the swept levels a kind exists: all of them, a schedule at 0 only."""
    return (0,) if isinstance(kind, Schedule) else tuple(levels)


def other(side: Side) -> Side:
    """Return the other generator of the two."""
    return "target" if side == "source" else "source"


def check_level(at: int, resolutions: Sequence[int]) -> None:
    """Refuse a level that does not exist; ValueError."""
    if at not in (0, *resolutions):
        raise ValueError(f"at: found {at} px, expected one of {[0, *resolutions]}")


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is none of those allowed; ValueError."""
    if value not in allowed:
        raise ValueError(f"{name}: found {value!r}, expected {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}")


def _fine_share(resolution: int, at: int, width: float | None) -> float:
    if at == 0 or width is None:
        return float(resolution > at)
    position = (math.log2(resolution / at) - 0.5) / width
    return 0.5 * (1.0 + math.tanh(position / 2))  # the logistic function, without overflow
