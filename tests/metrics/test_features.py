from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file, write_manifest
from model.metrics.features import AttributeReader, StyleFeatures
from model.metrics.fit import attribute_net, style_net, write_asset
from tests.metrics.standin import probe_set

STYLE_FILE = "style_net.safetensors"
ATTRIBUTE_FILE = "attribute_net.safetensors"


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    data = probe_set(20)
    write_asset(tmp_path / STYLE_FILE, style_net(data), data, {"seed": 0})
    write_asset(tmp_path / ATTRIBUTE_FILE, attribute_net(data), data, {"seed": 0})
    write_manifest(tmp_path)
    return tmp_path


def pictures(n: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_the_extractor_is_named_after_its_weights(assets: Path) -> None:
    extractor = StyleFeatures(assets)
    assert extractor.weights_sha256 == sha256_file(assets / STYLE_FILE)
    assert extractor.name == f"stylenet-{extractor.weights_sha256[:8]}"
    assert extractor.styles == ("dark", "light")


def test_features_of_an_image_do_not_depend_on_its_company(assets: Path) -> None:
    extractor, images = StyleFeatures(assets), pictures(131)
    whole = extractor(images)
    assert whole.shape == (131, extractor.dim)
    assert whole.dtype == np.float32
    for start, stop in ((0, 1), (70, 77), (130, 131)):
        assert np.array_equal(extractor(images[start:stop]), whole[start:stop])


def test_both_layouts_and_other_sizes_are_read(assets: Path) -> None:
    extractor, images = StyleFeatures(assets), pictures(3)
    assert np.array_equal(extractor(images), extractor(images.transpose(0, 3, 1, 2)))
    assert extractor(pictures(2, 128)).shape == (2, extractor.dim)
    with pytest.raises(ValueError, match="uint8"):
        extractor(images.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint8"):
        extractor(images[:0])


def test_the_reader_knows_its_eyes_and_its_units(assets: Path) -> None:
    reader, data = AttributeReader(assets), probe_set(20)
    reading = reader(data.images[:, 0])
    assert reading.attributes.shape == (20, 2)
    assert reading.points.shape == (20, 2, 2)
    assert reader.eyes == (0, 1)
    assert reader.standardise(data.attributes).std(axis=0) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_a_missing_weight_file_is_named_with_the_remedy(assets: Path) -> None:
    (assets / STYLE_FILE).unlink()
    with pytest.raises(MissingInputError, match=r"style_net\.safetensors: missing; .*make assets"):
        StyleFeatures(assets)


def test_a_file_without_manifest_entry_is_refused(assets: Path) -> None:
    (assets / STYLE_FILE).rename(assets / "other")
    write_manifest(assets)
    (assets / "other").rename(assets / STYLE_FILE)
    with pytest.raises(MissingInputError, match="style_net: no such shipped weights"):
        StyleFeatures(assets)
    (assets / "MANIFEST.json").unlink()
    with pytest.raises(MissingInputError, match=r"MANIFEST\.json: missing"):
        StyleFeatures(assets)


@pytest.mark.parametrize("damage", ["truncate", "edit"])
def test_a_damaged_weight_file_is_refused(assets: Path, damage: str) -> None:
    content = bytearray((assets / STYLE_FILE).read_bytes())
    content[-5] ^= 1
    (assets / STYLE_FILE).write_bytes(content[:-100] if damage == "truncate" else content)
    with pytest.raises(CorruptInputError, match=r"style_net.*content differs"):
        StyleFeatures(assets)


def test_the_wrong_network_under_the_right_name_is_refused(assets: Path) -> None:
    (assets / STYLE_FILE).write_bytes((assets / ATTRIBUTE_FILE).read_bytes())
    write_manifest(assets)
    with pytest.raises(CorruptInputError, match="'AttributeNet', expected 'StyleNet'"):
        StyleFeatures(assets)
    (assets / STYLE_FILE).write_bytes(b"not a weight file")
    write_manifest(assets)
    with pytest.raises(CorruptInputError, match="not a safetensors file"):
        StyleFeatures(assets)
