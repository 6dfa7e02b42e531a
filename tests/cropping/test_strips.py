"""Slices of a strip are searched as one page, a part at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import UInt8, read_header, read_image, write_png
from stages.cropping.pages import BrokenSliceError, Strip, plan_pages, runs
from tests.cropping.raw import png, raw_folder, scroll, slices
from tests.stages.world import Bench

TOPS, HEIGHT = (50, 320, 640, 900, 1250, 1500), 1800


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def pixels(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "crops").iterdir())]


def make_strip(folder: Path, page: UInt8, cuts: tuple[int, ...]) -> Strip:
    edges = [0, *cuts, page.shape[0]]
    files = [folder / f"{index}.png" for index in range(len(edges) - 1)]
    for file, top, bottom in zip(files, edges[:-1], edges[1:], strict=True):
        write_png(file, page[top:bottom])
    return Strip(files, [read_header(file) for file in files])


def test_a_part_of_a_strip_is_that_part_of_the_joined_page(tmp_path: Path) -> None:
    page = np.random.default_rng(0).integers(0, 255, (97, 20, 3), np.uint8)
    strip = make_strip(tmp_path, page, (10, 40, 41, 90))
    assert strip.shape == (97, 20, 3)
    for top, bottom, left, right in ((0, 97, 0, 20), (0, 10, 3, 9), (9, 11, 0, 20), (39, 42, 5, 20), (90, 97, 0, 1)):
        assert (strip[top:bottom, left:right] == page[top:bottom, left:right]).all()


def test_only_the_slices_of_a_part_are_in_memory_and_shared_ones_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = np.zeros((500, 20, 3), np.uint8)
    strip = make_strip(tmp_path, page, tuple(range(50, 500, 50)))
    read: list[str] = []
    monkeypatch.setattr("stages.cropping.pages.read_image", lambda path: read.append(path.stem) or read_image(path))
    for top in range(0, 420, 40):
        strip[top : top + 80, 0:20]
        assert len(strip._loaded) <= 3
    assert read == [str(index) for index in range(10)]


def test_a_slice_that_breaks_says_which_it_is(tmp_path: Path) -> None:
    strip = make_strip(tmp_path, np.zeros((60, 20, 3), np.uint8), (20, 40))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:-20])
    with pytest.raises(BrokenSliceError) as caught:
        strip[0:60, 0:20]
    assert caught.value.index == 1


def test_slices_are_joined_in_the_order_of_their_records_not_of_their_names() -> None:
    files = {name: {"strip": "a", "order": order} for name, order in (("x", 10), ("y", 9), ("w", 11))}
    pages = plan_pages({**files, "alone": {}, "z": {"strip": "b", "order": 0}}, join=True)
    assert [(page.strip, [p.name for p in page.pictures]) for page in pages] == [
        (None, ["alone"]),
        ("a", ["y", "x", "w"]),
        ("b", ["z"]),
    ]
    assert all(page.strip is None for page in plan_pages(files, join=False))


def test_a_strip_ends_where_the_width_changes_and_at_what_cannot_be_read(tmp_path: Path) -> None:
    headers = []
    for index, width in enumerate((20, 20, 30, 20, 20)):
        write_png(tmp_path / f"{index}.png", np.zeros((5, width, 3), np.uint8))
        headers.append(read_header(tmp_path / f"{index}.png"))
    assert runs(headers) == [range(0, 2), range(2, 3), range(3, 5)]
    assert runs([headers[0], None, headers[1]]) == [range(0, 1), range(2, 3)]
    assert runs([None, None]) == []


@pytest.mark.parametrize("cuts", [(130, 400, 720, 1330), tuple(range(90, 1800, 90))])
def test_faces_across_the_borders_of_slices_are_cut_whole_and_once(bench: Bench, cuts: tuple[int, ...]) -> None:
    page = scroll(TOPS, HEIGHT)
    raw_folder(bench, "whole", {"00000-page.png": (png(page), {})})
    raw_folder(bench, "cut", slices(page, cuts))
    whole, cut = bench.crop("whole"), bench.crop("cut")
    assert len(pixels(whole)) >= 5
    assert pixels(cut) == pixels(whole)


def test_a_crop_of_a_strip_names_its_slices_and_its_place_on_the_first(bench: Bench) -> None:
    page = scroll(TOPS, HEIGHT)
    raw_folder(bench, "whole", {"00000-page.png": (png(page), {})})
    raw_folder(bench, "cut", slices(page, (150, 400)))
    whole, cut = (sorted(report(bench.crop(name))["crops"].items()) for name in ("whole", "cut"))
    starts = {"00000-slice.png": 0, "00001-slice.png": 150, "00002-slice.png": 400}
    for (_, one), (name, other) in zip(whole, cut, strict=True):
        start = starts[other["page"]]
        assert name.startswith(other["page"].removesuffix(".png"))
        for key in ("box", "square"):
            x, y, width, height = other[key]
            assert [x, y + start, width, height] == one[key]
        assert other["strip"] == "episode 1"
        assert other["slices"] == sorted(other["slices"])
        assert "strip" not in one
    assert cut[0][1]["slices"] == ["00000-slice.png", "00001-slice.png"]


def test_the_most_faces_per_image_holds_for_each_slice(bench: Bench) -> None:
    raw_folder(bench, "cut", slices(scroll(TOPS, HEIGHT), (600, 1200)))
    bench.filters(max_per_image=1)
    found = report(bench.crop("cut"))
    assert [page["kept"] for page in found["pages"].values()] == [1, 1, 1]
    assert all(item["reason"].startswith("surplus") for item in found["dropped"])


def test_a_broken_slice_costs_no_face_elsewhere(bench: Bench) -> None:
    parts = slices(scroll(TOPS, HEIGHT), (300, 600, 880, 1200))
    raw_folder(bench, "whole", parts)
    content, record = parts["00002-slice.png"]
    raw_folder(bench, "broken", {**parts, "00002-slice.png": (content[: len(content) // 2], record)})
    bench.values["crop"] = {**bench.values["crop"], "max_bad_fraction": 0.2}
    whole, broken = report(bench.crop("whole")), report(bench.crop("broken"))
    assert [item["page"] for item in broken["unreadable"]] == ["00002-slice.png"]
    expected = {name for name, crop in whole["crops"].items() if crop["page"] != "00002-slice.png"}
    assert len(expected) >= 4
    assert set(broken["crops"]) == expected


def test_slices_of_other_widths_are_searched_for_themselves(bench: Bench) -> None:
    parts = slices(scroll(TOPS[:2], 560), (280,))
    wide = png(scroll((60,), 300, width=300))
    raw_folder(bench, "mixed", {**parts, "00002-slice.png": (wide, {"strip": "episode 1", "order": 2})})
    found = report(bench.crop("mixed"))
    assert {crop["page"] for crop in found["crops"].values()} == {f"0000{n}-slice.png" for n in range(3)}
    assert found["unreadable"] == []
