"""Detector and frame of a kind of face must fit each other, and work together in the stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model.data.images import read_image, write_png
from pipeline.params import ParamsError
from tests.data.faces.tiny_yunet import tiny_yunet
from tests.stages.world import CROP, FACES, Bench

FFHQ = {"kind": "ffhq", "expand": 1.0}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    page = np.full((640, 640, 3), (0, 90, 60), np.uint8)
    page[288:320, 288:320] = (255, 0, 0)  # a face to the tiny network
    write_png(tmp_path / "in" / "page.png", page)
    (tmp_path / "tiny.onnx").write_bytes(tiny_yunet())
    made = Bench(tmp_path)
    made.folder_dataset("mine", tmp_path / "in")
    made.crawl("mine")
    return made


def use(bench: Bench, **changes: object) -> None:
    bench.values["crop"] = {**CROP, "faces": {"photo": {**FACES, **changes}}}


def test_a_cascade_finds_no_landmarks_and_so_cannot_align(bench: Bench) -> None:
    use(bench, frame=FFHQ)
    with pytest.raises(ParamsError, match=r"crop\.faces\.photo: frame ffhq .*cascade.*yunet"):
        bench.crop("mine")


def test_faces_with_landmarks_are_aligned_and_their_detector_is_on_record(bench: Bench) -> None:
    file = bench.home / "tiny.onnx"
    detector = {"kind": "yunet", "file": str(file), "min_score": 0.6, "min_face": 20, "max_side": 640}
    use(bench, detector=detector, frame=FFHQ, filters={**FACES["filters"], "min_sharpness": 0.0})
    out = bench.crop("mine")
    report = json.loads((out / "report.json").read_text())
    assert report["counts"]["kept"] == 1
    assert report["detector"]["frame"] == FFHQ
    assert report["detector"]["detector"] == detector
    crop = read_image(out / "crops" / next(iter(report["crops"])))
    red = np.argwhere(crop[:, :, 0] > 128).mean(0) / crop.shape[0]
    assert red == pytest.approx([0.55, 0.5], abs=0.1)  # its nose: between eyes and mouth


def test_a_frame_without_a_kind_says_which_there_are(bench: Bench) -> None:
    use(bench, frame={"expand": 1.6, "shift_down": -0.1})
    with pytest.raises(ParamsError, match=r"crop\.faces\.photo\.frame.*kind"):
        bench.crop("mine")
