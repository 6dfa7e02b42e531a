"""Do the shipped measuring networks measure? On faces they have not learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.data.synthetic.attributes import VECTOR_NAMES, sample_attributes
from model.data.synthetic.geometry import LANDMARK_NAMES, landmarks
from model.data.synthetic.render import STYLES, render
from model.metrics.features import AttributeReader, StyleFeatures
from model.metrics.fit import ProbeSet
from model.metrics.sanity import attribute_report, style_report

pytestmark = pytest.mark.slow

WORLD, COUNT = 9002, 300  # a world no network has seen
DRAWN = STYLES[1:]
GEOMETRY = ("yaw", "pitch", "face_width", "eye_spacing", "smile", "mouth_width", "hair_length", "fringe")


@pytest.fixture(scope="module")
def faces() -> ProbeSet:
    attributes = [sample_attributes(WORLD, index) for index in range(COUNT)]
    return ProbeSet(
        images=np.stack([[render(face, style, 64) for style in STYLES] for face in attributes]),
        attributes=np.stack([face.vector() for face in attributes]),
        points=np.stack([landmarks(face) for face in attributes]),
        style_names=STYLES,
        attribute_names=VECTOR_NAMES,
        point_names=LANDMARK_NAMES,
    )


@pytest.fixture(scope="module")
def read(faces: ProbeSet) -> dict[str, Any]:
    return attribute_report(AttributeReader(), faces)


@pytest.fixture(scope="module")
def told(faces: ProbeSet) -> dict[str, Any]:
    return style_report(StyleFeatures(), faces)


def test_landmarks_are_found_equally_well_in_every_style(read: dict[str, Any]) -> None:
    errors = [read[style]["landmark_nme"] for style in STYLES]
    assert max(errors) < 0.06
    assert max(errors) < 1.5 * min(errors)


@pytest.mark.parametrize("style", STYLES)
def test_geometry_is_read_off_every_style(read: dict[str, Any], style: str) -> None:
    correlation = read[style]["correlation"]
    assert {name: value for name, value in correlation.items() if name in GEOMETRY and value < 0.8} == {}
    assert np.mean(list(correlation.values())) > 0.75


@pytest.mark.parametrize("style", DRAWN)
def test_the_same_face_is_far_more_alike_than_another(read: dict[str, Any], style: str) -> None:
    pair = read[f"photo-{style}"]
    assert pair["landmark_nme"] < 0.25 * pair["landmark_nme_shuffled"]
    assert pair["attribute_mse"] < 0.25 * pair["attribute_mse_shuffled"]
    assert pair["attribute_mse_shuffled"] > 1.0  # in units of the spread: about 2 if nothing were shrunk


@pytest.mark.parametrize("style", DRAWN)
def test_photographs_are_far_from_drawings_and_drawings_near_each_other(told: dict[str, Any], style: str) -> None:
    assert told["fd"][f"photo-{style}"] > 10 * told["fd"][f"{style}-{style}"]
    assert told["kid_x1e3"][f"photo-{style}"] > 100 * abs(told["kid_x1e3"][f"{style}-{style}"])
    assert told["fd"]["flat-ink"] > 5 * told["fd"][f"{style}-{style}"]


@pytest.mark.parametrize("style", DRAWN)
def test_distances_fall_along_a_blend_and_rise_with_damage(told: dict[str, Any], style: str) -> None:
    blend = list(told[f"blend_from_photo_{style}"].values())
    assert blend == sorted(blend, reverse=True)
    for damage in ("noise", "pixelate"):
        steps = list(told[f"{damage}_{style}"].values())
        assert steps == sorted(steps), damage


def test_style_features_hold_style_and_face(faces: ProbeSet) -> None:
    extractor = StyleFeatures()
    assert extractor.styles == STYLES
    features = extractor(faces.images.reshape(-1, 64, 64, 3))
    # Linear probes learnt on two thirds, read on the rest.
    inputs = np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1)
    targets = np.concatenate([np.tile(np.eye(3), (COUNT, 1)), np.repeat(faces.attributes, 3, axis=0)], axis=1)
    cut = len(inputs) * 2 // 3
    weights = np.linalg.lstsq(inputs[:cut], targets[:cut], rcond=None)[0]
    found = inputs[cut:] @ weights
    assert (found[:, :3].argmax(axis=1) == targets[cut:, :3].argmax(axis=1)).mean() > 0.98
    for name in ("yaw", "skin", "hair_length", "glasses"):
        column = 3 + VECTOR_NAMES.index(name)
        assert np.corrcoef(found[:, column], targets[cut:, column])[0, 1] > 0.8, name
