"""The recogniser on real people, and LPIPS' own example: bars a little below what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.files import sha256_file
from model.metrics.extractors.base import IdentityReader
from model.metrics.extractors.catalogue import open_instrument
from stages.fetch.weights import read_lock

pytestmark = [pytest.mark.real_data, pytest.mark.slow]
LOCK = Path(__file__).resolve().parents[2] / "weights.lock.yaml"


@pytest.fixture(scope="module")
def reader(real_data: Path) -> IdentityReader:
    files = {
        "mobilefacenet": real_data / "identity_nets" / "mobilefacenet_casia_068.ckpt",
        "yunet": real_data / "detectors" / "yunet_n_640_640.onnx",
    }
    lock = read_lock(LOCK)
    assert {name: sha256_file(path) for name, path in files.items()} == {name: lock[name].sha256 for name in files}
    opened = open_instrument("arcface", files)
    assert isinstance(opened, IdentityReader)
    return opened


def squares(files: list[Path], size: int) -> np.ndarray:
    """Pictures on black squares."""
    return np.stack([np.asarray(Image.open(f).convert("RGB").resize((size, size))) for f in files])


def likeness(reader: IdentityReader, images: np.ndarray, people: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
    """Cosines of all pairs of one person, of all pairs of two, and how often a face was found."""
    vectors, found = reader(images)
    names, cosines = np.array(people)[found], vectors[found] @ vectors[found].T
    pairs = np.triu_indices(len(names), 1)
    same = (names[:, None] == names[None])[pairs]
    return cosines[pairs][same], cosines[pairs][~same], float(found.mean())


def accuracy(same: np.ndarray, others: np.ndarray) -> float:
    """The best balanced accuracy of a threshold."""
    levels = np.linspace(-1, 1, 401)
    return max(((same > level).mean() + (others <= level).mean()) / 2 for level in levels)


def test_people_of_the_orl_faces_are_told_apart(real_data: Path, reader: IdentityReader) -> None:
    files = sorted((real_data / "photo_faces" / "orl").glob("*.pgm"))[::2]
    same, others, found = likeness(reader, squares(files, 112), [file.name.split("_")[0] for file in files])
    assert found >= 0.98  # 1.00
    assert accuracy(same, others) >= 0.97  # 0.99
    assert np.percentile(same, 5) > np.percentile(others, 95)  # 0.60 and 0.30


def test_four_photographed_people_are_told_apart(real_data: Path, reader: IdentityReader) -> None:
    files = sorted(path for path in (real_data / "photo_identities").rglob("*") if path.suffix in {".jpg", ".png"})
    same, others, found = likeness(reader, squares(files, 150), [file.parent.name for file in files])
    assert found >= 0.95  # 1.00
    assert accuracy(same, others) >= 0.97  # 1.00
    assert same.mean() - others.mean() > 0.6  # 0.84


def test_the_heads_of_lpips_are_those_of_the_lock(real_data: Path) -> None:
    lock = read_lock(LOCK)
    for kind in ("vgg", "alex"):
        assert sha256_file(real_data / "lpips" / "v0.1" / f"{kind}.pth") == lock[f"lpips_{kind}"].sha256
