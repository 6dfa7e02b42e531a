"""Section ``evaluate`` of the params file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.metrics.gates import Limits
from model.metrics.prdc import COVERAGE_K

FEWEST = 2 * (COVERAGE_K + 1)  # images on a side: with less, one of two halves has no k-th neighbours
OnMissing = Literal["error", "skip"]


@dataclass(frozen=True)
class GateParams:
    """When a cell is marked as one that copies, or that draws the same all over again."""

    nn_ratio: Limits
    variety: Limits


@dataclass(frozen=True)
class TileParams:
    """How many pictures of a cell are kept, by which rule."""

    first: int
    random: int
    worst: int

    def __post_init__(self) -> None:
        """Refuse numbers that leave no picture."""
        if min(self.first, self.random, self.worst) < 0 or self.first < 1:
            raise ValueError(
                f"first is {self.first}, random {self.random} and worst {self.worst}; expected at least 1, 0 and 0"
            )


@dataclass(frozen=True)
class EvaluateParams:
    """Section ``evaluate``."""

    images: int  # generated per cell, without truncation: the number stands in the metrics' names
    pairs: int  # of them, the first, compared with the source one by one
    seed: int  # of z, of subsets and of resamples: the same for everything that is compared
    device: str  # auto, cpu or cuda
    style: tuple[str, ...]  # measuring networks for FID, KID, precision ...; the first one ranks
    likeness: tuple[str, ...]  # measuring networks for pairs
    diversity: str  # measuring network for the variety of what is drawn
    on_missing: OnMissing  # weights that are not here: an error, or "not run" and why
    path_length: int  # z for the perceptual path length of unswapped generators; 0 = not measured
    gates: GateParams
    tiles: TileParams

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if self.images < FEWEST or not 2 <= self.pairs <= self.images:
            raise ValueError(
                f"images is {self.images} and pairs {self.pairs}; expected at least {FEWEST} images and 2 to images "
                "pairs"
            )
        if max(self.tiles.first + self.tiles.random, self.tiles.worst) > self.pairs:
            raise ValueError(
                f"tiles are {self.tiles.first} first, {self.tiles.random} random others and {self.tiles.worst} worst "
                f"of {self.pairs} pairs; expected no more tiles than pairs"
            )
        if self.path_length < 0:
            raise ValueError(f"path_length is {self.path_length}; expected 0 (not measured) or more")
