"""Each of the 13 transformations against its published law: how often it happens, and how strongly.

The strength is recovered from the map that is applied to the picture. The laws are the intended ones of the paper,
not those of a known faulty copy (quarter turns by 0 and 270 degrees only, shifts by fractions of a pixel, one number
for x and y). Seeds are fixed; every tolerance is a multiple of the law's own standard error at this sample size.

Source: Karras et al. 2020 (ADA), appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from model.training.augment import ALL, COLOUR, GEOMETRY, Draws, colour_maps, inverse_maps
from model.training.augment_colour import LUMA

MANY = 20_000
WIDTH, HEIGHT = 64, 32  # px; different, so that a mixed-up axis shows
SIGMAS = 5.0  # 1 in 2 million by chance, per number compared
ACROSS = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / math.sqrt(2.0)  # a colour of no luma


def angle(maps: Tensor) -> Tensor:
    return torch.atan2(maps[:, 1, 0], maps[:, 0, 0])


def turned(maps: Tensor) -> Tensor:
    """Angle by which a colour turned about the axis of greys."""
    moved = maps[:, :3, :3] @ ACROSS
    return torch.atan2(moved @ torch.linalg.cross(LUMA, ACROSS), moved @ ACROSS)


@dataclass(frozen=True)
class Law:
    """A distribution, and how its value is read off the maps ``[N, k, k]``."""

    read: Callable[[Tensor], Tensor]
    law: stats.rv_continuous | stats.rv_discrete  # frozen
    chance: Callable[[float], float] = lambda p: p  # that it happens


def shares(values: list[float], weights: list[float]) -> stats.rv_discrete:
    return stats.rv_discrete(values=(values, weights))()


def whole(size: int) -> stats.rv_discrete:
    """Uniform over an eighth of the size either way, rounded: the two ends get half a share."""
    reach = size // 8
    return shares(list(range(-reach, reach + 1)), [0.25 / reach, *[0.5 / reach] * (2 * reach - 1), 0.25 / reach])


def normal(deviation: float) -> stats.rv_continuous:
    return stats.norm(0.0, deviation)


CIRCLE = stats.uniform(-math.pi, 2 * math.pi)


def of_two(p: float) -> float:
    """Of two rotations, so that at least one happens with probability p."""
    return 1.0 - math.sqrt(1.0 - p)


LAWS = {
    "flip": Law(lambda m: (1 - m[:, 0, 0]) / 2, shares([0, 1], [0.5, 0.5])),
    "quarter_turns": Law(lambda m: (angle(m) / (math.pi / 2)).round() % 4, shares([0, 1, 2, 3], [0.25] * 4)),
    "whole_shift/x": Law(lambda m: m[:, 0, 2], whole(WIDTH)),
    "whole_shift/y": Law(lambda m: m[:, 1, 2], whole(HEIGHT)),
    "scale": Law(lambda m: m[:, 0, 0].log2(), normal(0.2)),
    "pre_rotation": Law(angle, CIRCLE, of_two),
    "aspect": Law(lambda m: (m[:, 0, 0] / m[:, 1, 1]).log2() / 2, normal(0.2)),
    "post_rotation": Law(angle, CIRCLE, of_two),
    "shift/x": Law(lambda m: m[:, 0, 2] / WIDTH, normal(0.125)),
    "shift/y": Law(lambda m: m[:, 1, 2] / HEIGHT, normal(0.125)),
    "brightness": Law(lambda m: m[:, 0, 3], normal(0.2)),
    "contrast": Law(lambda m: m[:, 0, 0].log2(), normal(0.5)),
    "luma_flip": Law(lambda m: (1 - (m[:, :3, :3] @ LUMA) @ LUMA) / 2, shares([0, 1], [0.5, 0.5])),
    "hue": Law(turned, CIRCLE),
    "saturation": Law(lambda m: (m[:, :3, :3] @ ACROSS @ ACROSS).log2(), normal(1.0)),
}


def maps_of(name: str, draws: Draws, p: float) -> Tensor:
    only = frozenset({name})
    if name in GEOMETRY:
        return inverse_maps(draws, p, torch.Size((HEIGHT, WIDTH)), only)
    return colour_maps(draws, p, only)


@lru_cache(maxsize=64)
def values_of(key: str, p: float) -> np.ndarray:
    """The recovered values of many images, in float64; 0 (bar rounding) where the transformation did not happen."""
    name, seed = key.split("/")[0], sorted(LAWS).index(key)
    draws = Draws.take(MANY, torch.Generator().manual_seed(seed))
    only = frozenset({name})
    maps = (
        inverse_maps(draws, p, torch.Size((HEIGHT, WIDTH)), only) if name in GEOMETRY else colour_maps(draws, p, only)
    )
    values: np.ndarray = LAWS[key].read(maps).numpy()
    return np.where(np.abs(values) < 1e-12, 0.0, values)


def discrete(key: str) -> bool:
    return isinstance(LAWS[key].law.dist, stats.rv_discrete)


DISCRETE, CONTINUOUS = [k for k in LAWS if discrete(k)], [k for k in LAWS if not discrete(k)]


def test_every_transformation_has_its_law_here() -> None:
    assert {key.split("/")[0] for key in LAWS} == set(ALL)
    assert len(ALL) == 13


@pytest.mark.parametrize("key", LAWS)
def test_mean_and_variance_are_those_of_the_law(key: str) -> None:
    values, law = values_of(key, 1.0), LAWS[key].law
    mean, variance, kurtosis = (float(x) for x in law.stats(moments="mvk"))
    assert values.mean() == pytest.approx(mean, abs=SIGMAS * math.sqrt(variance / MANY))
    error = variance * math.sqrt(
        max(kurtosis + 2.0, 1.0) / MANY
    )  # of a sample's variance; a fair coin's is 0 to first order
    assert values.var() == pytest.approx(variance, abs=SIGMAS * error)


@pytest.mark.parametrize("key", CONTINUOUS)
def test_the_whole_distribution_is_the_laws_by_kolmogorov_and_smirnov(key: str) -> None:
    assert stats.kstest(values_of(key, 1.0), LAWS[key].law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("key", DISCRETE)
def test_exactly_the_laws_values_occur_each_with_its_share(key: str) -> None:
    found, counts = np.unique(values_of(key, 1.0).round(9), return_counts=True)
    law = LAWS[key].law
    low, high = law.support()
    wanted = np.arange(low, high + 1)
    assert found.tolist() == wanted.tolist()
    share = law.pmf(wanted)
    assert np.all(np.abs(counts / MANY - share) < SIGMAS * np.sqrt(share * (1 - share) / MANY))


@pytest.mark.parametrize("key", CONTINUOUS)
def test_the_extremes_reach_as_far_as_the_law_lets_so_many_draws_go(key: str) -> None:
    values, law = values_of(key, 1.0), LAWS[key].law
    for extreme, sign in ((values.min(), -1), (values.max(), 1)):
        # The largest of n draws lies beyond the quantile 1 - q with probability 1 - (1 - q)^n.
        near, far = (law.ppf(1 - q) for q in (10.0 / MANY, 1e-4 / MANY))
        assert near < sign * extreme <= far


@pytest.mark.parametrize("p", [0.1, 0.6])
@pytest.mark.parametrize("key", LAWS)
def test_it_happens_with_its_probability_and_then_as_strongly_as_ever(key: str, p: float) -> None:
    values, law = values_of(key, p), LAWS[key].law
    silent = float(law.pmf(0)) if discrete(key) else 0.0  # happening, it still does nothing with this probability
    wanted = LAWS[key].chance(p) * (1.0 - silent)
    happened = values[values != 0]
    assert len(happened) / MANY == pytest.approx(wanted, abs=SIGMAS * math.sqrt(wanted * (1 - wanted) / MANY))
    if discrete(key):
        found, counts = np.unique(happened.round(9), return_counts=True)
        share = law.pmf(found) / (1.0 - silent)
        assert np.all(np.abs(counts / len(happened) - share) <= SIGMAS * np.sqrt(share * (1 - share) / len(happened)))
    else:
        assert stats.kstest(happened, law.cdf).pvalue > 1e-3


def test_no_two_values_of_an_image_share_their_randomness() -> None:
    draws = Draws.take(MANY, torch.Generator().manual_seed(5))
    columns = [law.read(maps_of(key.split("/")[0], draws, 1.0)).numpy() for key, law in LAWS.items()]
    correlation = np.corrcoef(np.stack(columns)) - np.eye(len(LAWS))
    assert np.abs(correlation).max() < SIGMAS / math.sqrt(MANY)


def test_transformations_happen_independently_of_each_other() -> None:
    gates = Draws.take(MANY, torch.Generator().manual_seed(6)).gates.numpy()
    happens = gates < 0.3
    correlation = np.corrcoef(happens.T) - np.eye(len(GEOMETRY + COLOUR))
    assert np.abs(correlation).max() < SIGMAS / math.sqrt(MANY)


def test_some_rotation_happens_with_probability_p_though_there_are_two() -> None:
    p, draws = 0.36, Draws.take(MANY, torch.Generator().manual_seed(7))
    turns = [angle(maps_of(name, draws, p)) != 0 for name in ("pre_rotation", "post_rotation")]
    some = float((turns[0] | turns[1]).double().mean())
    assert some == pytest.approx(p, abs=SIGMAS * math.sqrt(p * (1 - p) / MANY))
