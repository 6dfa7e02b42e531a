"""Stage crop: faces out of pages, everything dropped on record, the same on every run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import read_image, write_png
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from model.files import sha256_file, verify_manifest, write_manifest
from pipeline.params import ParamsError
from tests.stages.world import Bench, face, faces_on_paper, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def pages(bench: Bench, count: int = 4) -> None:
    bench.folder_dataset("mine", faces_on_paper(bench.home / "in", count))
    bench.crawl("mine")


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def test_faces_become_square_crops_with_a_report_and_a_sheet(bench: Bench) -> None:
    pages(bench)
    out = bench.crop("mine")
    verify_manifest(out)
    found = report(out)
    names = sorted(path.name for path in (out / "crops").iterdir())
    assert names == sorted(found["crops"])
    assert 5 <= len(names) <= 8
    assert all(read_image(out / "crops" / name).shape == (32, 32, 3) for name in names)
    assert names[0] == "00000-page-00-f00.png"
    first = found["crops"][names[0]]
    assert (first["page"], first["group"]) == ("00000-page-00.png", "Page 00.png")
    assert read_image(out / "qa.png").shape[1] > 300
    assert found["counts"]["kept"] == len(names)
    assert set(found["pages"]) == {f"0000{n}-page-0{n}.png" for n in range(4)}


def test_the_report_names_detector_hash_and_opencv(bench: Bench) -> None:
    import cv2

    pages(bench, 1)
    detector = report(bench.crop("mine"))["detector"]
    assert (detector["name"], detector["opencv"]) == ("photo", cv2.__version__)
    assert len(detector["sha256"]) == 64


def test_cropping_twice_gives_the_same_folder(bench: Bench) -> None:
    pages(bench)
    once = tree(bench.crop("mine"))
    assert tree(bench.crop("mine")) == once


def test_every_dropped_face_is_on_record_with_its_reason(bench: Bench) -> None:
    pages(bench)
    kept = report(bench.crop("mine"))["counts"]["kept"]
    bench.filters(max_per_image=1)
    found = report(bench.crop("mine"))
    assert found["counts"]["kept"] + len(found["dropped"]) == kept
    assert all(item["reason"].startswith("surplus: ") and len(item["box"]) == 4 for item in found["dropped"])


def test_no_face_left_is_an_error_with_advice(bench: Bench) -> None:
    write_png(bench.home / "in" / "empty.png", np.full((200, 200, 3), 230, np.uint8))
    bench.folder_dataset("mine", bench.home / "in")
    bench.crawl("mine")
    with pytest.raises(BudgetError, match=r"1 pictures, 0 faces found.*crop\.faces\.photo.*`none`"):
        bench.crop("mine")
    assert not (bench.home / "faces" / "mine").exists()


def test_all_faces_dropped_says_why(bench: Bench) -> None:
    pages(bench, 2)
    bench.filters(min_side=999)
    with pytest.raises(BudgetError, match=r"dropped: \d too small"):
        bench.crop("mine")


def test_face_none_takes_whole_images_and_refuses_to_enlarge(bench: Bench) -> None:
    for index in range(3):
        write_png(bench.home / "in" / f"{index}.png", face(index, 64))
    write_png(bench.home / "in" / "tiny.png", face(9, 16))
    bench.folder_dataset("mine", bench.home / "in", face="none")
    bench.crawl("mine")
    found = report(bench.crop("mine"))
    assert found["detector"] is None
    assert found["counts"]["kept"] == 3
    assert [item["reason"] for item in found["dropped"]] == ["too small: 16 px, a crop has 32"]


def test_an_unknown_kind_of_face_lists_the_known(bench: Bench) -> None:
    bench.folder_dataset("mine", faces_on_paper(bench.home / "in", 1), face="anime")
    bench.crawl("mine")
    with pytest.raises(UsageError, match=r"datasets\.mine\.face: 'anime' is not one of photo, none"):
        bench.crop("mine")


def copies(bench: Bench) -> None:
    write_png(bench.home / "in" / "a.png", face(0, 128))
    write_png(bench.home / "in" / "b.png", face(0, 96))
    write_png(bench.home / "in" / "c.png", face(5, 96))
    bench.folder_dataset("mine", bench.home / "in", face="none")
    bench.crawl("mine")


def test_near_duplicates_are_reported_and_kept(bench: Bench) -> None:
    copies(bench)
    found = report(bench.crop("mine"))
    assert found["near_duplicates"] == [["00000-a-f00.png", "00001-b-f00.png"]]
    assert found["counts"]["kept"] == 3


def test_pictures_changed_since_they_were_gathered_are_refused(bench: Bench) -> None:
    pages(bench, 2)
    (bench.home / "raw" / "mine" / "00001-page-01.png").write_bytes(b"edited")
    with pytest.raises(CorruptInputError, match="00001-page-01"):
        bench.crop("mine")


def test_pictures_that_cannot_be_decoded_are_quarantined_within_the_budget(bench: Bench) -> None:
    for index in range(12):
        write_png(bench.home / "in" / f"page-{index:02d}.png", face(index, 64))
    bench.folder_dataset("mine", bench.home / "in", face="none")
    bench.crawl("mine")
    for name in ("00003-page-03.png", "00007-page-07.png"):
        (bench.home / "raw" / "mine" / name).write_bytes(b"broken")
    write_manifest(bench.home / "raw" / "mine")
    found = report(bench.crop("mine"))
    assert [item["page"] for item in found["unreadable"]] == ["00003-page-03.png", "00007-page-07.png"]
    bench.values["crop"] = {**bench.values["crop"], "max_bad_fraction": 0.01}
    with pytest.raises(BudgetError, match=r"crop\.max_bad_fraction"):
        bench.crop("mine")


def test_missing_pictures_name_the_stage(bench: Bench) -> None:
    bench.folder_dataset("mine", bench.home)
    with pytest.raises(MissingInputError, match="run the stage"):
        bench.crop("mine")


def test_a_tall_strip_gives_each_face_once(bench: Bench) -> None:
    strip = np.full((2400, 230, 3), 240, np.uint8)
    for index, top in enumerate((50, 600, 1250, 2100)):
        strip[top : top + 160, 35:195] = face(index, 160)
    write_png(bench.home / "in" / "strip.png", strip)
    bench.folder_dataset("mine", bench.home / "in")
    bench.crawl("mine")
    squares = [crop["square"] for crop in report(bench.crop("mine"))["crops"].values()]
    assert 3 <= len(squares) <= 4
    assert len({square[1] // 300 for square in squares}) == len(squares)


def test_the_sheet_is_recorded_with_the_run(bench: Bench) -> None:
    pages(bench, 1)
    out = bench.crop("mine")
    copies = list((bench.home / "record").rglob("*.png"))
    assert [sha256_file(path) for path in copies] == [sha256_file(out / "qa.png")]


def moving_faces(bench: Bench) -> None:
    """Frames of a film: each of two faces three times, a little darker each time."""
    paper = read_image(faces_on_paper(bench.home / "own", 1) / "Page 00.png")
    for index in range(3):
        write_png(bench.home / "in" / f"frame-{index}.png", paper - np.minimum(paper, index).astype(np.uint8))
    bench.folder_dataset("mine", bench.home / "in")
    bench.crawl("mine")


def test_near_duplicates_are_dropped_but_the_first_if_that_is_asked_for(bench: Bench) -> None:
    moving_faces(bench)
    kept = sorted(report(bench.crop("mine"))["crops"])
    assert len(kept) == 6
    bench.filters(near_duplicates="drop")
    out = bench.crop("mine")
    found = report(out)
    assert sorted(found["crops"]) == kept[:2] == sorted(path.name for path in (out / "crops").iterdir())
    assert {item["reason"] for item in found["dropped"]} == {f"near duplicate: of {name}" for name in kept[:2]}
    assert found["dropped_by_reason"] == {"near duplicate": 4}
    assert found["counts"]["near_duplicates"] == 4
    assert [page["kept"] for page in found["pages"].values()] == [2, 0, 0]


def test_an_excluded_crop_takes_its_near_duplicates_with_it(bench: Bench) -> None:
    moving_faces(bench)
    bench.filters(near_duplicates="drop")
    first = report(bench.crop("mine"))["crops"]["00000-frame-0-f00.png"]
    digest = sha256_file(bench.home / "raw" / "mine" / "00000-frame-0.png")
    (bench.home / "none.txt").write_text(" ".join([digest[:16], *map(str, first["box"])]))
    assert list(report(bench.crop("mine"))["crops"]) == ["00000-frame-0-f01.png"]


@pytest.mark.slow
def test_the_folder_is_the_same_for_any_number_of_workers(bench: Bench) -> None:
    pages(bench, 7)
    bench.filters(max_per_image=1, near_duplicates="drop", duplicate_bits=18)
    trees = []
    for workers in (1, 2, 4, 8, "auto"):
        bench.values["crop"] = {**bench.values["crop"], "workers": workers}
        trees.append(tree(bench.crop("mine")))
    assert {"crops/00000-page-00-f00.png", "report.json", "review.html", "qa.png"} <= set(trees[0])
    assert all(other == trees[0] for other in trees)


@pytest.mark.parametrize("workers", [0, -1, "many", 1.5])
def test_a_number_of_workers_that_is_none_is_named(bench: Bench, workers: object) -> None:
    pages(bench, 1)
    bench.values["crop"] = {**bench.values["crop"], "workers": workers}
    with pytest.raises((UsageError, ParamsError), match=r"crop\.workers"):
        bench.crop("mine")


def test_a_blank_picture_is_no_face_and_a_thousand_small_ones_are_dropped_by_size(bench: Bench) -> None:
    bench.filters(min_side=300)
    pages(bench, 2)
    write_png(bench.home / "in" / "zz.png", np.full((900, 900, 3), 240, np.uint8))
    big = np.full((460, 460, 3), 240, np.uint8)
    big[60:400, 60:400] = face(3, 340)
    write_png(bench.home / "in" / "zy.png", big)
    bench.crawl("mine")
    found = report(bench.crop("mine"))
    assert [crop["page"] for crop in found["crops"].values()] == ["00002-zy.png"]
    assert set(found["dropped_by_reason"]) == {"too small"}
    assert found["pages"]["00003-zz.png"] == {"found": 0, "kept": 0}
    assert found["counts"]["pages_without_faces"] == 3


def test_the_sheet_shows_what_was_dropped(bench: Bench) -> None:
    pages(bench)
    plain = read_image(bench.crop("mine") / "qa.png").shape[0]
    bench.filters(max_per_image=1)
    assert read_image(bench.crop("mine") / "qa.png").shape[0] > plain
