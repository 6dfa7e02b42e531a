from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoint.native import load_generator
from model.errors import UsageError
from model.metrics.extractors.lpips import ALEX, Lpips, LpipsNet
from model.metrics.extractors.shipped import open_attribute_net, open_style_net
from model.metrics.path_length import path_length, path_lengths, smooth_distance
from model.networks.generator import Generator
from model.shipped import shipped
from model.training.randomness import latents


def squared(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).double().square().sum(dim=(1, 2, 3))


def ways(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, n, 3, 5, generator=generator, dtype=dtype)
    return first, second


@pytest.fixture(scope="module")
def photographer() -> Generator:
    return load_generator(shipped("synthetic-photo-64"))


def drawn_lengths(generator: Generator, count: int, dtype: torch.dtype = torch.float32) -> np.ndarray:
    generator = copy.deepcopy(generator).to(dtype)
    z = latents(3, "path", 0, 2 * count, generator.config.z_dim).to(dtype)
    with torch.inference_mode():
        ws = generator.broadcast(generator.mapping(z))
    noise = generator.synthesis.const_noise()
    return path_lengths(lambda some: generator.synthesis(some, noise), ws[:count], ws[count:], squared)


def test_lengths_of_a_linear_generator_are_its_squared_step() -> None:
    matrix = torch.randn(15, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    starts, ends = ways(11)
    lengths = path_lengths(lambda ws: (ws.flatten(1) @ matrix).unflatten(1, (3, 4, 4)), starts, ends, squared)
    expected = ((ends - starts).flatten(1) @ matrix).square().sum(dim=1)
    assert lengths == pytest.approx(expected.numpy(), rel=1e-6)


def test_lengths_are_taken_at_the_start_of_the_way() -> None:
    starts, ends = ways(4)
    lengths = path_lengths(lambda ws: ws.square()[:, None], starts, ends, squared)
    slope = 2 * starts * (ends - starts)
    assert lengths == pytest.approx(slope.square().sum(dim=(1, 2)).numpy(), rel=1e-2)


@pytest.mark.parametrize("count", [1, 7])
def test_a_way_does_not_depend_on_its_company(photographer: Generator, count: int) -> None:
    z = latents(3, "path", 0, 18, photographer.config.z_dim)
    starts, ends = photographer.broadcast(photographer.mapping(z)).detach().chunk(2)
    noise = photographer.synthesis.const_noise()

    def lengths(part: slice) -> np.ndarray:
        return path_lengths(lambda ws: photographer.synthesis(ws, noise), starts[part], ends[part], squared)

    whole = lengths(slice(None))
    parts = [lengths(slice(start, start + count)) for start in range(0, 9, count)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_single_precision_is_enough_for_the_published_step(photographer: Generator) -> None:
    single, double = drawn_lengths(photographer, 16), drawn_lengths(photographer, 16, torch.float64)
    assert single == pytest.approx(double, rel=0.05)
    assert path_length(single) == pytest.approx(path_length(double), rel=0.01)


def test_rounding_to_bytes_would_make_the_length_meaningless(photographer: Generator) -> None:
    z = latents(3, "path", 0, 16, photographer.config.z_dim)
    ws = photographer.broadcast(photographer.mapping(z)).detach()
    noise = photographer.synthesis.const_noise()

    def rounded(first: Tensor, second: Tensor) -> Tensor:
        return squared(*((side * 127.5 + 128).clamp(0, 255).floor() / 127.5 for side in (first, second)))

    coarse = path_lengths(lambda some: photographer.synthesis(some, noise), ws[:8], ws[8:], rounded)
    assert coarse.mean() > 3 * drawn_lengths(photographer, 8).mean()


def test_the_mean_leaves_out_one_percent_at_either_end() -> None:
    lengths = np.arange(1000.0)
    lengths[[3, 500]] = 1e12, -1e12
    kept = np.sort(lengths)[9:991]
    assert path_length(lengths) == pytest.approx(kept.mean(), rel=1e-9)
    assert path_length(np.array([2.0, 4.0])) == 3.0
    with pytest.raises(ValueError, match="1 of 3 path lengths are not finite"):
        path_length(np.array([1.0, np.inf, 2.0]))


def test_the_style_network_and_lpips_measure_pictures_that_were_never_rounded() -> None:
    pictures = torch.rand(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    style = open_style_net()
    a, b = (style.net.features(side) for side in pictures)
    assert smooth_distance(style)(*pictures).numpy() == pytest.approx((a - b).square().sum(dim=1).detach().numpy())
    torch.manual_seed(0)
    lpips = Lpips(ALEX, LpipsNet(ALEX).eval(), "0" * 64)
    first, second = (np.random.default_rng(seed).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8) for seed in (0, 1))
    floats = [torch.from_numpy(side).permute(0, 3, 1, 2).float() / 127.5 - 1.0 for side in (first, second)]
    assert smooth_distance(lpips)(*floats).numpy() == pytest.approx(lpips(first, second), abs=1e-6)


def test_an_instrument_of_bytes_alone_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"attributenet-.* only pictures of 8 bits.*path_length to 0"):
        smooth_distance(open_attribute_net())


def test_ways_without_two_ends_are_refused() -> None:
    starts, ends = ways(4)
    with pytest.raises(ValueError, match="on both ends"):
        path_lengths(lambda ws: ws[:, None], starts, ends[:2], squared)
