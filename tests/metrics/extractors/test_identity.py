"""The recogniser's plumbing, with random weights behind a tiny detector; whether it knows people: tests/real."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from model.errors import CorruptInputError
from model.metrics.extractors import identity
from model.metrics.extractors.base import IdentityReader
from model.metrics.extractors.catalogue import open_instrument
from model.metrics.extractors.identity import PLACES, Identity, MobileFaceNet, upright
from tests.data.faces.tiny_yunet import tiny_yunet


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    net = MobileFaceNet()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    torch.save({"epoch": 68, "net_state_dict": net.state_dict()}, folder / "068.ckpt")
    (folder / "tiny.onnx").write_bytes(tiny_yunet())
    return {"mobilefacenet": folder / "068.ckpt", "yunet": folder / "tiny.onnx"}


@pytest.fixture(scope="module")
def reader(files: dict[str, Path]) -> Identity:
    opened = open_instrument("arcface", files)
    assert isinstance(opened, Identity)
    return opened


def pages(n: int) -> np.ndarray:
    """Every third one without a face: the tiny detector takes red cells for faces."""
    images = np.random.default_rng(0).integers(0, 100, (n, 320, 320, 3), dtype=np.uint8)
    for index in range(n):
        if index % 3:
            images[index, 128:160, 128:160] = (255, 0, 0)
    return images


def test_it_reads_unit_vectors_where_there_are_faces_and_zeros_elsewhere(reader: Identity) -> None:
    vectors, found = reader(pages(6))
    assert isinstance(reader, IdentityReader)
    assert found.tolist() == [False, True, True, False, True, True]
    assert (vectors.shape, vectors.dtype) == ((6, 128), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(found.astype(float), abs=1e-6)
    assert not reader(pages(1))[1].any()


def test_a_face_does_not_depend_on_its_company(reader: Identity) -> None:
    images = pages(20)
    whole, _ = reader(images)
    assert np.array_equal(reader(images[1:2])[0], whole[1:2])
    assert np.array_equal(reader(images[7:14])[0], whole[7:14])


def test_a_small_face_in_the_background_is_not_the_person(tmp_path: Path, files: dict[str, Path]) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_yunet(face=50.0))
    small = open_instrument("arcface", {**files, "yunet": tmp_path / "tiny.onnx"})
    assert isinstance(small, Identity)
    assert not small(pages(2))[1].any()


def test_upright_faces_have_eyes_and_mouth_in_their_places() -> None:
    turn = 1.7 * np.exp(0.4j)  # the page's face is larger and turned
    where = [((complex(*place) * turn) + 60 + 20j) for place in PLACES]
    image = np.zeros((320, 320, 3), np.uint8)
    for index, place in enumerate(where):
        cv2.circle(image, (round(place.real), round(place.imag)), 5, (255 if index == 0 else 120,) * 3, -1)
    face = upright(image, [(place.real, place.imag) for place in where])
    assert face.shape == (112, 96, 3)
    for index, (x, y) in enumerate(PLACES):
        assert face[round(y), round(x), 0] == pytest.approx(255 if index == 0 else 120, abs=5)
    assert np.array_equal(upright(face, PLACES), face)


def test_who_opens_it_is_told_once_what_the_weights_may_be_used_for(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    identity._notice.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_instrument("arcface", files)
    assert [record.message for record in caplog.records] == [
        "arcface: weights without a stated licence, trained on CASIA-WebFace: for research only"
    ]


def test_other_files_are_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    torch.save(MobileFaceNet().state_dict(), tmp_path / "bare.ckpt")
    with pytest.raises(CorruptInputError, match=r"bare\.ckpt: holds no tensors by name under 'net_state_dict'"):
        open_instrument("arcface", {**files, "mobilefacenet": tmp_path / "bare.ckpt"})
    with pytest.raises(CorruptInputError, match="cannot run it as a YuNet"):
        open_instrument("arcface", {**files, "yunet": files["mobilefacenet"]})
