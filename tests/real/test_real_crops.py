"""Crawl, crop and pack real drawings and photographs (CARTOON_REAL_DATA names their folder)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model.data.images import SUFFIXES, read_image
from model.data.lmdb import LmdbImages
from model.files import sha256_file
from tests.stages.world import FACES, Bench

pytestmark = [pytest.mark.real_data, pytest.mark.slow]
ANIME_SHA256 = "9376d30ac38db6bda2a68b88b3b76bbd7e6aa33af47f7f5c76bc88ca75f1ce30"


@pytest.fixture
def bench(tmp_path: Path, real_data: Path) -> Bench:
    made = Bench(tmp_path)
    detectors = real_data / "detectors"
    anime = {
        "detector": {
            "kind": "cascade", "file": str(detectors / "lbpcascade_animeface.xml"), "scale_factor": 1.05,
            "min_neighbors": 20, "mirror": True, "equalise": True, "min_face": 40,
        },
        "frame": {"kind": "square", "expand": 1.5, "shift_down": -0.1},
        "filters": {**FACES["filters"], "min_sharpness": 300.0},
    }  # fmt: skip
    photo = {
        "detector": {
            "kind": "yunet", "file": str(detectors / "yunet_n_640_640.onnx"), "min_score": 0.8, "min_face": 24,
            "max_side": 2048,
        },
        "frame": {"kind": "ffhq", "expand": 1.0},
        "filters": {**FACES["filters"], "min_sharpness": 0.0},
    }  # fmt: skip
    faces = {"anime": anime, "photo": photo}
    made.values["crop"] = {"resolution": 64, "workers": 2, "max_bad_fraction": 0.02, "faces": faces}
    made.values["lmdb"] = made.values["lmdb"] | {"sizes": [64]}
    return made


def crops(bench: Bench, name: str) -> dict[str, Any]:
    bench.crawl(name)
    return json.loads((bench.crop(name) / "report.json").read_text())  # type: ignore[no-any-return]


def test_comic_pages_give_drawn_faces_and_none_of_stick_figures(bench: Bench, real_data: Path) -> None:
    bench.folder_dataset("comics", real_data / "comic_pages", face="anime")
    report = crops(bench, "comics")
    assert report["counts"]["pages"] == 26
    assert report["unreadable"] == []
    assert report["counts"]["kept"] >= 20
    assert not [name for name in report["crops"] if "xkcd" in name]
    assert report["detector"]["sha256"] == ANIME_SHA256


def test_webtoon_strips_give_drawn_faces_and_none_of_numbers(bench: Bench, real_data: Path) -> None:
    bench.folder_dataset("strips", real_data / "webtoon_strips", face="anime")
    report = crops(bench, "strips")
    assert report["counts"]["pages"] == 10
    assert report["crops"]
    assert all("torinome" in name for name in report["crops"])


def test_group_photos_give_upright_faces(bench: Bench, real_data: Path) -> None:
    bench.folder_dataset("groups", real_data / "photo_scenes", face="photo")
    report = crops(bench, "groups")
    assert report["counts"]["kept"] >= 60
    reasons = {item["reason"].partition(":")[0] for item in report["dropped"]}
    assert reasons <= {"too small", "border", "surplus", "odd landmarks", "blurred"}


def test_anime_crops_are_packed_whole(bench: Bench, real_data: Path) -> None:
    bench.folder_dataset("anime", real_data / "cartoon_faces" / "anime256", face="none")
    report = crops(bench, "anime")
    assert report["counts"]["kept"] == 1001
    out = bench.lmdb("anime")
    parts = [LmdbImages(out / part, 64) for part in ("train", "heldout")]
    assert sum(map(len, parts)) == 1001
    assert parts[0].read_all().std() > 40


def test_every_scene_reads_and_transparent_sprites_stand_on_white(real_data: Path) -> None:
    scenes = [path for path in sorted((real_data / "cartoon_scenes").iterdir()) if path.suffix.lower() in SUFFIXES]
    assert len(scenes) == 71
    for path in scenes:
        image = read_image(path)
        assert image.shape[2] == 3
        assert image.std() > 5
        if path.name.startswith("sylvie"):
            assert (image[0, 0] == 255).all()


def test_the_anime_cascade_is_the_published_one(real_data: Path) -> None:
    assert sha256_file(real_data / "detectors" / "lbpcascade_animeface.xml") == ANIME_SHA256
