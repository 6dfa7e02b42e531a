from __future__ import annotations

import math

import numpy as np
import pytest

from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render
from model.metrics.extractors.shipped import open_attribute_net
from model.metrics.names import parse
from model.metrics.pairs import PERFECT, SourceSide, named, own_names, worst
from tests.metrics.instruments import Cells, Difference, Passport, Places

N = 40
INSTRUMENTS = [open_attribute_net(), Places(8), Difference(), Passport()]
NET = INSTRUMENTS[0].name
SMALLER_IS_BETTER = {family for family, value in PERFECT.items() if value == 0.0}


def faces(style: str, n: int = N) -> np.ndarray:
    images = np.stack([render(sample_attributes(5, index), style, 64) for index in range(n)])
    images[:, 0, 0] = 255  # a face is found
    return images


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return faces("photo")


@pytest.fixture(scope="module")
def drawings() -> np.ndarray:
    return faces("flat")


@pytest.fixture(scope="module")
def side(photos: np.ndarray) -> SourceSide:
    return SourceSide(photos, INSTRUMENTS, seed=0)


def test_every_instrument_gives_its_measures_and_some_need_none(side: SourceSide, drawings: np.ndarray) -> None:
    pairs = side.per_pair(side.see(drawings))
    assert set(pairs) == {
        "edge_ssim", "lowres_rgb_mse_8", "lowres_rgb_mse_16", "lowres_rgb_mse_32", "landmark_nme", "attribute_mse",
        f"cos[{NET}]", f"retrieval_top1[{NET}]", f"selfsim[{NET}]", "cos[cells8-s0]", "retrieval_top1[cells8-s0]",
        "selfsim[cells8-s0]", "lpips[difference-s0]", "arcface_cos[passport-s0]", "face_detect_rate[passport-s0]",
    }  # fmt: skip
    assert {values.shape for values in pairs.values()} == {(N,)}
    assert {values.dtype for values in pairs.values()} == {np.dtype(np.float64)}
    bare = SourceSide(drawings, [Cells(4)], seed=0)
    assert set(bare.per_pair(bare.see(drawings))) == {
        "edge_ssim", "lowres_rgb_mse_8", "lowres_rgb_mse_16", "lowres_rgb_mse_32", "cos[cells4-s0]",
        "retrieval_top1[cells4-s0]",
    }  # fmt: skip


def test_a_perfect_copy_scores_perfectly_and_lifts_to_one(side: SourceSide, photos: np.ndarray) -> None:
    scores = side.scores(side.see(photos))
    for measure in side.means(side.see(photos)):
        if (family := parse(measure).family) in PERFECT:
            assert scores[measure] == pytest.approx(PERFECT[family], abs=1e-6)
            assert scores[named(measure, "lift")] == pytest.approx(1.0, abs=1e-6)
    assert scores["attribute_corr"] == pytest.approx(1.0)
    assert scores["corr_smile"] == pytest.approx(1.0)


def test_drawings_of_other_faces_are_no_better_than_the_shuffled_floor(side: SourceSide, drawings: np.ndarray) -> None:
    own = side.see(drawings)
    others = side.see(drawings[side.partners])
    floor = side.shuffled(own)
    assert side.means(others) == pytest.approx(floor, nan_ok=True)
    for measure, mean in side.means(own).items():
        family = parse(measure).family
        if family in SMALLER_IS_BETTER:
            assert mean < floor[measure]
        elif family in PERFECT:
            assert mean > floor[measure]
    lifts = {name: value for name, value in side.scores(others).items() if parse(name).family.endswith("_lift")}
    assert len(lifts) == 14
    assert all(abs(value) < 0.35 for value in lifts.values())
    assert side.means(others)[f"retrieval_top1[{NET}]"] <= 0.1 < side.means(own)[f"retrieval_top1[{NET}]"]


def test_a_blend_ladder_is_monotone_on_every_axis_of_similarity(side: SourceSide, photos: np.ndarray) -> None:
    strangers = photos[side.partners].astype(float)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    ladder = [side.means(side.see(((1 - a) * photos + a * strangers).round().astype(np.uint8))) for a in shares]
    for measure in ladder[0]:
        family, steps = parse(measure).family, [step[measure] for step in ladder]
        if family in PERFECT:
            assert steps == sorted(steps, reverse=family not in SMALLER_IS_BETTER), measure
            assert steps[0] != steps[-1]


def test_intervals_contain_their_means_and_shrink_to_nothing_where_all_pairs_agree(
    side: SourceSide, photos: np.ndarray, drawings: np.ndarray
) -> None:
    scores = side.scores(side.see(drawings))
    for measure in side.means(side.see(drawings)):
        assert scores[named(measure, "low")] <= scores[measure] <= scores[named(measure, "high")]
    assert scores["edge_ssim_low"] < scores["edge_ssim_high"]
    same = side.scores(side.see(photos))
    assert same[f"retrieval_top1_low[{NET}]"] == same[f"retrieval_top1_high[{NET}]"] == 1.0


def test_pairs_without_both_faces_are_counted_and_not_averaged(photos: np.ndarray, drawings: np.ndarray) -> None:
    hidden, cells = photos.copy(), drawings.copy()
    hidden[3, 0, 0] = cells[3, 0, 0] = cells[7, 0, 0] = 0
    side = SourceSide(hidden, [Passport()], seed=0)
    seen = side.see(cells)
    identity = side.per_pair(seen)["arcface_cos[passport-s0]"]
    assert np.flatnonzero(np.isnan(identity)).tolist() == [3, 7]
    scores = side.scores(seen)
    assert scores["face_detect_rate[passport-s0]"] == pytest.approx(1 - 2 / N)
    assert scores["arcface_cos[passport-s0]"] == pytest.approx(np.nanmean(identity))
    assert math.isfinite(scores["arcface_cos_lift[passport-s0]"])
    assert "face_detect_rate_lift[passport-s0]" not in scores


def test_where_no_face_is_found_at_all_there_is_no_number(photos: np.ndarray) -> None:
    blank = np.zeros_like(photos)
    side = SourceSide(photos, [Passport()], seed=0)
    scores = side.scores(side.see(blank))
    assert scores["face_detect_rate[passport-s0]"] == 0.0
    for name in ("arcface_cos", "arcface_cos_low", "arcface_cos_high", "arcface_cos_lift"):
        assert math.isnan(scores[f"{name}[passport-s0]"])


def test_where_strangers_are_as_alike_as_pairs_there_is_no_lift() -> None:
    same = np.full((12, 32, 32, 3), 90, np.uint8)
    side = SourceSide(same, [Cells(4)], seed=0)
    scores = side.scores(side.see(same))
    assert math.isnan(scores["lowres_rgb_mse_8_lift"])
    assert scores["retrieval_top1[cells4-s0]"] == 0.0


def test_a_pair_does_not_depend_on_its_company(photos: np.ndarray, drawings: np.ndarray) -> None:
    photos, drawings = (np.concatenate([some, some[::-1]]) for some in (photos, drawings))  # more than one batch
    whole = SourceSide(photos, INSTRUMENTS, seed=0)
    every = whole.per_pair(whole.see(drawings))
    for start, stop in ((0, 7), (20, 22), (60, 80)):
        part = SourceSide(photos[start:stop], INSTRUMENTS, seed=0)
        for measure, values in part.per_pair(part.see(drawings[start:stop])).items():
            if not measure.startswith("retrieval"):
                assert np.array_equal(values, every[measure][start:stop]), measure


def test_pictures_of_another_shape_are_refused(side: SourceSide, drawings: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"the source's are uint8 \(40, 64, 64, 3\)"):
        side.see(drawings[:5])
    with pytest.raises(ValueError, match="float64"):
        side.see(drawings.astype(float))


def test_names_of_statistics_and_of_own_mappings_keep_the_extractor() -> None:
    assert named("cos[dinov2_b14-01234567]", "lift") == "cos_lift[dinov2_b14-01234567]"
    assert own_names({"cos[x-0]": 1.0, "cos_lift[x-0]": 2.0, "edge_ssim": 3.0, "edge_ssim_low": 4.0}) == {
        "cos_own[x-0]": 1.0, "cos_own_lift[x-0]": 2.0, "edge_ssim_own": 3.0, "edge_ssim_own_low": 4.0,
    }  # fmt: skip
    assert parse("cos_own_lift[x-0]").family == "cos_own_lift"


def test_worst_is_farthest_from_perfect_whichever_way_that_is() -> None:
    values = np.array([0.1, 0.5, np.nan, 0.3, 0.5])
    assert worst("landmark_nme", values, 3).tolist() == [1, 4, 3]
    assert worst("cos[x-0]", values, 5).tolist() == [0, 3, 1, 4, 2]
    with pytest.raises(ValueError, match="face_detect_rate"):
        worst("face_detect_rate[x-0]", values, 1)
