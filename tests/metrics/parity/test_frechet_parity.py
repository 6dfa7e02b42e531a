"""Our Frechet distance against four libraries on identical features."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy
import torch
from cleanfid.fid import frechet_distance as clean_fid
from pytorch_fid.fid_score import calculate_frechet_distance as pytorch_fid
from torch_fidelity import metric_fid
from torchmetrics.image.fid import _compute_fid

from benchmarks import frechet as benchmark
from model.metrics.frechet import frechet_distance, frechet_of_moments
from model.metrics.moments import moments_of
from tests.metrics.parity.cases import CASES, DEFICIENT, FULL_RANK, Case, of_kinds, spread

Statistics = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # means and covariances of both sides
OLD_SCIPY = tuple(int(part) for part in scipy.__version__.split(".")[:2]) < (1, 18)  # 1.18 removes sqrtm(disp=)


def by_torchmetrics(statistics: Statistics) -> float:
    return float(_compute_fid(*map(torch.from_numpy, statistics)))


def by_torch_fidelity(statistics: Statistics) -> float:
    a, b = ({"mu": statistics[at], "sigma": statistics[at + 1]} for at in (0, 2))
    return metric_fid.fid_statistics_to_metric(a, b, verbose=False)[metric_fid.KEY_METRIC_FID]


def by_sqrtm(way: Callable[..., float]) -> Callable[[Statistics], float]:
    def distance(statistics: Statistics) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of disp=, which has a test below, and of singular products
            return float(way(*statistics))

    return distance


BY_EIGENVALUES = {"torchmetrics": by_torchmetrics, "torch-fidelity": by_torch_fidelity}
BY_SQRTM = {"clean-fid": by_sqrtm(clean_fid), "pytorch-fid": by_sqrtm(pytorch_fid)}


def statistics_of(case: Case) -> Statistics:
    sides = [np.asarray(side, dtype=np.float64) for side in case.sides()]
    (a, b), d = sides, sides[0].shape[1]
    covariances = [np.cov(side, rowvar=False).reshape(d, d) for side in (a, b)]
    return a.mean(axis=0), covariances[0], b.mean(axis=0), covariances[1]


def libraries_for(case: Case) -> dict[str, Callable[[Statistics], float]]:
    """What can measure the case: the tests of their failures below say why not all."""
    return BY_EIGENVALUES | (BY_SQRTM if OLD_SCIPY and case.kind != "one feature" else {})


def test_there_are_at_least_two_hundred_shapes() -> None:
    shapes = {(case.kind, *(side.shape for side in case.sides())) for case in CASES}
    assert len(shapes) >= 200


@pytest.mark.parametrize("case", spread(of_kinds(*FULL_RANK)))
def test_with_full_rank_it_equals_every_library_to_nine_digits(case: Case) -> None:
    ours, statistics = frechet_distance(*case.sides()), statistics_of(case)
    for name, library in libraries_for(case).items():
        assert ours == pytest.approx(library(statistics), rel=1e-9), name


@pytest.mark.parametrize("case", spread(of_kinds(*DEFICIENT)))
def test_without_full_rank_it_equals_every_library_to_their_own_error(case: Case) -> None:
    # They sum square roots of eigenvalues that are 0 but for round-off: 1e-8 each.
    ours, statistics = frechet_distance(*case.sides()), statistics_of(case)
    for name, library in libraries_for(case).items():
        assert ours == pytest.approx(library(statistics), abs=1e-5), name


@pytest.mark.parametrize("library", [clean_fid, pytorch_fid], ids=["clean-fid", "pytorch-fid"])
def test_libraries_by_sqrtm_warn_until_scipy_1_17_and_fail_from_1_18(library: Callable[..., float]) -> None:
    statistics = statistics_of(Case("plain", 0))
    if OLD_SCIPY:
        with pytest.warns(DeprecationWarning, match="disp"):
            library(*statistics)
    else:
        with pytest.raises(TypeError, match="disp"):
            library(*statistics)


@pytest.mark.parametrize("library", [clean_fid, pytorch_fid], ids=["clean-fid", "pytorch-fid"])
def test_libraries_by_sqrtm_cannot_measure_a_single_feature(library: Callable[..., float]) -> None:
    with pytest.raises((ValueError, TypeError)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library(*statistics_of(Case("one feature", 0)))


@pytest.mark.parametrize("case", spread(CASES))
def test_the_form_from_moments_equals_the_form_from_features(case: Case) -> None:
    x, y = case.sides()
    tolerance = {"rel": 1e-9} if case.kind in FULL_RANK else {"abs": 1e-5}
    assert frechet_of_moments(moments_of(x), moments_of(y)) == pytest.approx(frechet_distance(x, y), **tolerance)


@pytest.mark.parametrize("which", ["x", "y"])
def test_a_set_of_one_image_is_refused_where_libraries_return_nan(which: str) -> None:
    one, many = np.ones((1, 4)), np.random.default_rng(0).standard_normal((9, 4))
    with pytest.raises(ValueError, match=rf"{which}: 1 image\(s\)"):
        frechet_distance(*((one, many) if which == "x" else (many, one)))


@pytest.mark.parametrize("n", [20, 150])
def test_the_three_roots_that_the_benchmark_times_give_one_distance(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "D", 32)
    monkeypatch.setattr(benchmark, "REAL", 120)
    row = benchmark.compare(n, repeats=1)
    assert abs(row["sqrtm_error"]) < 1e-4
    assert abs(row["eigvals_error"]) < 1e-4
