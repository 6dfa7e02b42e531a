"""Features of real images as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.lmdb import LmdbImages
from model.errors import BudgetError, CorruptInputError, MissingInputError
from model.files import atomic_write_json, publish_folder
from model.metrics.extractors.base import Floats, Images
from stages.measuring import reals
from stages.measuring.reals import open_reals, read_features, read_report, take_features, write_features
from tests.stages.training import write_images


class Mean:
    """Colour means as features: no network."""

    dim = 3
    preprocess_id = "mean-v1"

    def __init__(self, sha256: str = "a" * 64) -> None:
        self.weights_sha256 = sha256
        self.name = "mean-00000000"

    def __call__(self, images: Images) -> Floats:
        return images.reshape(len(images), -1, 3).mean(axis=1).astype(np.float32)


def written(folder: Path, digest: str = "d1") -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    train, heldout = (random.normal(size=(n, 3)).astype(np.float32) for n in (7, 4))
    with publish_folder(folder) as out:
        write_features(out, Mean(), digest, train, heldout)
        atomic_write_json(out / "reference.json", {"lmdb_digest": digest})
    return train, heldout


def test_features_come_back_bit_for_bit_and_equal_ones_make_equal_files(tmp_path: Path) -> None:
    train, heldout = written(tmp_path / "a")
    written(tmp_path / "b")
    read = read_features(tmp_path / "a", Mean(), "d1")
    assert np.array_equal(read[0], train)
    assert np.array_equal(read[1], heldout)
    name = "mean-00000000.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_features_of_other_images_weights_or_preprocessing_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "flat")
    with pytest.raises(CorruptInputError, match=r"other images.*dvc repro"):
        read_report(tmp_path / "flat", "d2")
    with pytest.raises(CorruptInputError, match=r"lmdb_digest d1, expected lmdb_digest d2.*force reference@flat"):
        read_features(tmp_path / "flat", Mean(), "d2")
    with pytest.raises(CorruptInputError, match=r"weights_sha256 aaa.*expected weights_sha256 bbb"):
        read_features(tmp_path / "flat", Mean("b" * 64), "d1")
    other = Mean()
    other.preprocess_id = "mean-v2"
    with pytest.raises(CorruptInputError, match="preprocess mean-v1, expected preprocess mean-v2"):
        read_features(tmp_path / "flat", other, "d1")
    other.name = "inception-01234567"
    with pytest.raises(MissingInputError, match=r"inception-01234567 \(there are: mean-00000000\).*reference@flat"):
        read_features(tmp_path / "flat", other, "d1")
    (tmp_path / "flat" / "mean-00000000.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptInputError, match="not a file of features"):
        read_features(tmp_path / "flat", Mean(), "d1")
    with pytest.raises(CorruptInputError, match="content differs"):
        read_report(tmp_path / "flat", "d1")


def test_features_are_those_of_all_images_at_once(tmp_path: Path) -> None:
    images = LmdbImages(write_images(tmp_path / "lmdb", n=70) / "train", 32)
    assert np.array_equal(take_features(images, Mean()), Mean()(images.read_all()))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_features_are_bit_equal_whatever_the_batch(
    tmp_path: Path, networks: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = LmdbImages(write_images(tmp_path / "lmdb", n=20) / "train", 32)
    whole = networks["stylenet"](images.read_all())
    monkeypatch.setattr(reals, "BATCH", batch)
    assert np.array_equal(take_features(images, networks["stylenet"]), whole)


def test_the_digest_follows_the_content_of_both_parts(tmp_path: Path) -> None:
    digests = {open_reals(write_images(tmp_path / str(n), n), 32).digest for n in (12, 13)}
    again = open_reals(write_images(tmp_path / "again", 12), 32).digest
    assert len(digests) == 2
    assert again in digests


def test_too_few_real_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"few: 8 training and 8 held-out images.*at least 12"):
        open_reals(write_images(tmp_path / "few", 8), 32)
