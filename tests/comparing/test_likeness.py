"""Similarity: lifts of measures that no method optimises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.errors import CorruptInputError, UsageError
from model.metrics.pairs import PERFECT
from stages.comparing.likeness import (
    HIGHER,
    SIMILARITY,
    SIMILARITY_OWN,
    lift_per_pair,
    measures,
    refuse_trained,
    trained_on,
    variant,
    with_similarity,
)
from stages.comparing.table import Cell


def made(**pairs: np.ndarray) -> Cell:
    return Cell("freeze_g", "flat", "s0", "", 12.0, "none", 0, {}, {}, pairs)


def test_measures_are_found_by_family_or_by_their_full_name() -> None:
    cell = made(
        **{"cos[a-1]": np.zeros(3), "cos[b-2]": np.zeros(3), "selfsim[a-1]": np.zeros(3), "edge_ssim": np.zeros(3)}
    )
    assert measures(["selfsim", "edge_ssim", "cos[b-2]"], [cell], []) == ["selfsim[a-1]", "edge_ssim", "cos[b-2]"]
    with pytest.raises(UsageError, match=r"'cos' means \['cos\[a-1\]', 'cos\[b-2\]'\].*expected exactly one"):
        measures(["cos"], [cell], [])
    with pytest.raises(UsageError, match=r"'lpips' means nothing.*lpips\[lpips_vgg\] was not run: no weights"):
        measures(["lpips"], [cell], [{"metric": "lpips[lpips_vgg]", "reason": "no weights"}])


def test_what_a_method_optimises_ranks_nobody() -> None:
    loss = {"space": "rgb", "resolutions": [4, 8, 16], "weight": 20.0, "reduction": "sum"}
    optimised = trained_on({"plain": {"freeze_d": {}}, "structure_loss": {"freeze_d": {}, "structure_loss": loss}})
    assert optimised == {"structure_loss": ["lowres_rgb_mse_4", "lowres_rgb_mse_8", "lowres_rgb_mse_16"]}
    refuse_trained(["landmark_nme", "lowres_rgb_mse_32"], optimised)
    with pytest.raises(UsageError, match="lowres_rgb_mse_8 is what structure_loss is trained on"):
        refuse_trained(["landmark_nme", "lowres_rgb_mse_8"], optimised)


@given(
    arrays(np.float64, 20, elements=st.floats(0.01, 2.0)), st.floats(-0.5, 0.99),
    st.sampled_from(["landmark_nme", "selfsim[a-1]", "lpips[b-2]"]),
)  # fmt: skip
def test_lifts_per_pair_average_to_the_lift_and_a_perfect_pair_lifts_by_one(
    values: np.ndarray, lift: float, measure: str
) -> None:
    lifts = lift_per_pair(made(**{measure: np.append(values, 0.0)}), measure, lift)
    assert lifts.mean() == pytest.approx(lift, abs=1e-9)
    assert lifts[-1] == pytest.approx(1.0)


def test_a_cosine_is_best_at_one_and_a_perfect_measure_must_lift_by_one() -> None:
    cosines = lift_per_pair(made(**{"cos[a-1]": np.array([1.0, 0.6, 0.2])}), "cos[a-1]", 0.5)
    assert cosines == pytest.approx([1.0, 0.5, 0.0])
    same = made(edge_ssim=np.ones(3))
    assert lift_per_pair(same, "edge_ssim", 1.0).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(CorruptInputError, match=r"edge_ssim is perfect but lifts by 0\.5"):
        lift_per_pair(same, "edge_ssim", 0.5)


def test_similarity_is_the_mean_lift_with_the_sources_mapping_and_with_the_models_own() -> None:
    cell = made(
        landmark_nme=np.array([0.1, 0.3]), landmark_nme_own=np.array([0.2, 0.4]), **{"cos[a]": np.array([0.5, 0.7])}
    )
    values = {
        "landmark_nme_lift": 0.6, "cos_lift[a]": 0.2, "landmark_nme_own_lift": 0.4, "cos_own_lift[a]": 0.1
    }  # fmt: skip
    (found,) = with_similarity([replace(cell, values=values)], ["landmark_nme", "cos[a]"])
    assert found.values[SIMILARITY] == pytest.approx(0.4)
    assert found.values[SIMILARITY_OWN] == pytest.approx(0.25)
    assert found.pairs[SIMILARITY].mean() == pytest.approx(0.4)
    assert SIMILARITY_OWN not in found.pairs  # the cosines of its own mapping are not there pair by pair
    (lacking,) = with_similarity([replace(cell, values={"landmark_nme_lift": 0.6})], ["landmark_nme", "cos[a]"])
    assert SIMILARITY not in lacking.values


def test_a_pair_without_a_face_is_no_number_and_leaves_the_others_alone() -> None:
    lifts = lift_per_pair(made(**{"arcface_cos[a]": np.array([0.2, np.nan, 0.6])}), "arcface_cos[a]", 0.25)
    assert np.isnan(lifts).tolist() == [False, True, False]
    assert np.nanmean(lifts) == pytest.approx(0.25)


def test_numbers_per_pair_of_the_models_own_mapping_are_kept_as_one() -> None:
    pairs = {
        "landmark_nme": np.array([0.1, 0.3]),
        "landmark_nme_own": np.array([0.2, 0.4]),
        "edge_ssim_own": np.ones(2),
    }
    values = {"landmark_nme_lift": 0.6, "landmark_nme_own_lift": 0.4}
    (found,) = with_similarity([replace(made(**pairs), values=values)], ["landmark_nme"])
    assert set(found.pairs) == {"landmark_nme", SIMILARITY, SIMILARITY_OWN}
    assert found.pairs[SIMILARITY_OWN].mean() == pytest.approx(0.4)


def test_what_is_best_is_what_the_measures_say() -> None:
    assert {family for family, value in PERFECT.items() if value == 1.0} <= set(HIGHER)
    assert not {family for family, value in PERFECT.items() if value == 0.0} & set(HIGHER)


def test_variants_stand_before_the_instrument() -> None:
    assert variant("cos[a-1]", "_own") == "cos_own[a-1]"
    assert variant("landmark_nme", "_lift") == "landmark_nme_lift"
