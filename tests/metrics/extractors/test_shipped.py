from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import STYLES, render
from model.errors import MissingInputError, UsageError
from model.metrics.extractors.base import FeatureExtractor, PatchExtractor
from model.metrics.extractors.catalogue import KINDS, open_instrument
from model.metrics.extractors.shipped import AttributeFeatures, open_attribute_net, open_style_net
from model.metrics.features import AttributeReader


def pictures(n: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def attributes() -> AttributeFeatures:
    return open_attribute_net()


def test_what_ships_is_opened_by_its_name_without_any_weights() -> None:
    for name in ("stylenet", "attributenet"):
        instrument = open_instrument(name, {})
        assert instrument.name == f"{name}-{instrument.weights_sha256[:8]}"
        assert instrument.preprocess_id == "bicubic-64-v1"
    with pytest.raises(UsageError, match=r"called 'fid'; there are: stylenet, .*lpips_vgg"):
        open_instrument("fid", {})


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_names_an_opener_that_takes_the_files_it_needs(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    opener = getattr(import_module(kind.module), kind.opener)
    taken = [given for given in signature(opener).parameters.values() if given.default is given.empty]
    assert len(taken) == len(kind.needs)
    if kind.needs:
        absent = {need: tmp_path / f"{need}.pth" for need in kind.needs}
        with pytest.raises(MissingInputError, match=rf"{kind.needs[0]}\.pth: no such file.*weights fetch"):
            open_instrument(name, absent)


def test_the_shipped_networks_fit_the_protocols(attributes: AttributeFeatures) -> None:
    style = open_style_net()
    assert isinstance(style, FeatureExtractor)
    assert not isinstance(style, PatchExtractor)
    assert isinstance(attributes, PatchExtractor)


def test_features_and_patches_of_an_image_do_not_depend_on_its_company(attributes: AttributeFeatures) -> None:
    images = pictures(64)
    features, patches = attributes(images), attributes.patches(images)
    assert (features.shape, patches.shape) == ((64, attributes.dim), (64, 16, 24))
    assert features.dtype == patches.dtype == np.float32
    for start, stop in ((0, 1), (10, 17)):
        assert np.array_equal(attributes(images[start:stop]), features[start:stop])
        assert np.array_equal(attributes.patches(images[start:stop]), patches[start:stop])


def test_the_attributes_are_read_from_the_features(attributes: AttributeFeatures) -> None:
    images, head = pictures(3, 96), attributes.reader.net.attributes
    read = attributes(images) @ head.weight.numpy().T + head.bias.numpy()
    assert read == pytest.approx(attributes.read(images).attributes, abs=1e-4)
    assert np.array_equal(attributes.read(images).attributes, AttributeReader()(images).attributes)


def test_patches_are_places_in_rows(attributes: AttributeFeatures) -> None:
    images = pictures(1)
    changed = images.copy()
    changed[0, 60:, 60:] = 255 - changed[0, 60:, 60:]  # the last corner
    moved = np.abs(attributes.patches(images) - attributes.patches(changed))[0].max(axis=1)
    assert moved[15] > 0
    assert moved[0] == 0


@pytest.fixture(scope="module")
def faces() -> dict[str, np.ndarray]:
    """Forty faces that no network has seen, in every style."""
    drawn = [sample_attributes(9003, index) for index in range(40)]
    return {style: np.stack([render(face, style, 64) for face in drawn]) for style in STYLES}


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES[1:])
def test_a_drawing_is_likest_to_the_face_it_shows(
    attributes: AttributeFeatures, faces: dict[str, np.ndarray], style: str
) -> None:
    photos, drawings = unit(attributes(faces[STYLES[0]])), unit(attributes(faces[style]))
    assert np.mean((drawings @ photos.T).argmax(axis=1) == np.arange(40)) >= 0.9  # 0.99 of 200
    a, b = (unit(attributes.patches(faces[s])) for s in (STYLES[0], style))
    a, b = a @ a.swapaxes(1, 2), b @ b.swapaxes(1, 2)
    apart = np.square(a[:, None] - b[None]).mean(axis=(2, 3))
    assert apart.diagonal().mean() < 0.7 * apart[~np.eye(40, dtype=bool)].mean()
