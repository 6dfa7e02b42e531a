"""Faces that the dataset's records name: no detector, any frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import read_image
from model.errors import BudgetError
from pipeline.params import ParamsError
from tests.cropping.raw import png, raw_folder, scroll, slices
from tests.stages.world import FACES, Bench, face

FIVE = [[56.0, 62.0], [104.0, 62.0], [80.0, 88.0], [62.0, 112.0], [98.0, 112.0]]  # of a face of 160 px
FFHQ = {"kind": "ffhq", "expand": 1.0}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def given(bench: Bench, **changes: object) -> None:
    faces = {**FACES, "detector": {"kind": "given"}, **changes}
    bench.values["crop"] = {**bench.values["crop"], "faces": {"photo": faces}}


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def paper(x: int, y: int) -> bytes:
    page = np.full((400, 400, 3), 240, np.uint8)
    page[y : y + 160, x : x + 160] = face(1, 160)
    return png(page)


def moved(x: float, y: float) -> list[list[float]]:
    return [[px + x, py + y] for px, py in FIVE]


def test_landmarks_of_the_record_align_the_crop_wherever_the_face_is(bench: Bench) -> None:
    given(bench, frame=FFHQ, filters={**FACES["filters"], "max_outside": 0.9})  # type: ignore[dict-item]
    places = {"a.png": (120, 120), "b.png": (100, 140)}
    raw_folder(bench, "mine", {n: (paper(x, y), {"landmarks": moved(x, y)}) for n, (x, y) in places.items()})
    out = bench.crop("mine")
    crops = report(out)["crops"]
    assert crops["a-f00.png"]["landmarks"] == moved(120, 120)
    assert len(crops["a-f00.png"]["quad"]) == 4
    one, other = (read_image(out / "crops" / name).astype(int) for name in ("a-f00.png", "b-f00.png"))
    assert np.abs(one - other).mean() < 1
    assert one.std() > 20


def test_an_upright_square_goes_around_the_landmarks_or_around_the_boxes_of_the_record(bench: Bench) -> None:
    given(bench, frame={"kind": "square", "expand": 2.0, "shift_down": 0.0})
    boxes = {"faces": [[130, 140, 60, 60], [140, 150, 40, 40]]}
    raw_folder(bench, "mine", {"a.png": (paper(120, 120), {"landmarks": FIVE}), "b.png": (paper(120, 120), boxes)})
    found = report(bench.crop("mine"))
    assert found["detector"]["detector"] == {"kind": "given"}
    assert found["detector"]["sha256"] is None
    assert [crop["box"] for crop in found["crops"].values()] == [
        [56, 62, 48, 50],
        [130, 140, 60, 60],
        [140, 150, 40, 40],
    ]


def test_a_picture_without_a_face_on_record_has_none(bench: Bench) -> None:
    given(bench)
    raw_folder(bench, "mine", {"a.png": (paper(120, 120), {"faces": [[130, 140, 90, 90]]}), "b.png": (paper(9, 9), {})})
    assert report(bench.crop("mine"))["pages"]["b.png"] == {"found": 0, "kept": 0}


def test_boxes_alone_cannot_be_aligned_and_say_so(bench: Bench) -> None:
    given(bench, frame=FFHQ)
    raw_folder(bench, "mine", {"a.png": (paper(120, 120), {"faces": [[130, 140, 90, 90]]})})
    with pytest.raises(BudgetError, match="dropped: 1 no landmarks"):
        bench.crop("mine")


def test_faces_of_slices_are_cut_from_the_joined_strip(bench: Bench) -> None:
    given(bench)
    page = scroll((50, 320), 560)
    parts = slices(page, (300,))
    parts["00000-slice.png"][1]["faces"] = [[60, 80, 110, 110]]
    parts["00001-slice.png"][1]["faces"] = [[60, 50, 110, 110]]
    raw_folder(bench, "cut", parts)
    raw_folder(bench, "whole", {"0.png": (png(page), {"faces": [[60, 80, 110, 110], [60, 350, 110, 110]]})})
    cut, whole = bench.crop("cut"), bench.crop("whole")
    contents = [[path.read_bytes() for path in sorted((out / "crops").iterdir())] for out in (cut, whole)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_the_frame_ffhq_needs_a_source_of_landmarks(bench: Bench) -> None:
    raw_folder(bench, "mine", {"a.png": (paper(120, 120), {})})
    bench.values["crop"] = {**bench.values["crop"], "faces": {"photo": {**FACES, "frame": FFHQ}}}
    with pytest.raises(ParamsError, match=r"crop\.faces\.photo: frame ffhq .* kind cascade does not find"):
        bench.crop("mine")
