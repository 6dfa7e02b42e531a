"""Exclusions: a person's list is honoured by place, not by name, and what it means no more is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from model.data.faces.boxes import Box
from model.errors import MissingInputError, UsageError
from stages.cropping.exclusions import Excluder, line_of, read_exclusions
from tests.cropping.raw import png, raw_folder
from tests.stages.world import Bench, face

pytestmark = pytest.mark.slow

SHA = "0123456789abcdef" * 4


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def lines(bench: Bench, name: str = "mine") -> dict[str, str]:
    """Return crop -> its line."""
    files = json.loads((bench.home / "raw" / name / "crawl.json").read_text())["files"]
    found = {}
    for crop, entry in report(bench.home / "faces" / name)["crops"].items():
        x, y, width, height = entry["box"]
        found[crop] = line_of(files[entry["page"]]["sha256"], Box(y, x, width, height), crop)
    return found


def exclude(bench: Bench, text: str) -> dict[str, Any]:
    (bench.home / "none.txt").write_text(text)
    return report(bench.crop("mine"))


def test_a_listed_crop_is_left_out_and_the_others_keep_their_names_and_pixels(bench: Bench) -> None:
    out = bench.crop("mine")
    before = {path.name: path.read_bytes() for path in (out / "crops").iterdir()}
    name = "00001-page-01-f00.png"
    found = exclude(bench, f"# mine\n\n{lines(bench)[name]}\n")
    assert {path.name: path.read_bytes() for path in (out / "crops").iterdir()} == {
        other: content for other, content in before.items() if other != name
    }
    assert found["counts"]["excluded"] == 1
    assert [(item["crop"], item["reason"]) for item in found["dropped"]] == [(name, "excluded: by hand, line 3")]
    assert found["stale_exclusions"] == []


def test_a_list_holds_for_other_settings(bench: Bench) -> None:
    bench.crop("mine")
    line = lines(bench)["00001-page-01-f00.png"]
    faces = bench.values["crop"]["faces"]["photo"]
    detector, frame = faces["detector"] | {"scale_factor": 1.2}, faces["frame"] | {"expand": 1.9}
    other = {"photo": faces | {"detector": detector, "frame": frame}}
    bench.values["crop"] = {**bench.values["crop"], "resolution": 48, "faces": other}
    before = report(bench.crop("mine"))
    found = exclude(bench, line)
    assert found["stale_exclusions"] == []
    (gone,) = set(before["crops"]) - set(found["crops"])
    assert before["crops"][gone]["page"] == "00001-page-01.png"


def test_lines_that_mean_nothing_are_reported_and_warned_of(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.crop("mine")
    good = lines(bench)["00000-page-00-f00.png"]
    elsewhere = good.split()[0] + " 0 0 20 20  # moved"
    with caplog.at_level(logging.WARNING):
        found = exclude(bench, f"{elsewhere}\n{good}\n{'f' * 16} 1 2 3 4\n")
    assert found["stale_exclusions"] == [{"line": 1, "text": elsewhere}, {"line": 3, "text": f"{'f' * 16} 1 2 3 4"}]
    assert "none.txt: lines that mean no face found now: 1, 3" in caplog.text


def test_a_line_for_a_face_that_a_filter_drops_anyway_is_not_stale(bench: Bench) -> None:
    bench.crop("mine")
    mine = lines(bench)
    bench.filters(max_per_image=1)
    bench.crop("mine")
    dropped = sorted(set(mine) - set(lines(bench)))
    # The names are counted on each page, so one of a page's two is missing now: exclude both.
    page = dropped[0].rpartition("-f")[0]
    found = exclude(bench, "\n".join(line for name, line in mine.items() if name.startswith(page)))
    assert found["stale_exclusions"] == []
    assert found["counts"]["excluded"] == 1


def test_whole_images_are_excluded_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    raw_folder(bench, "mine", {f"{n}.png": (png(face(n, 64)), {}) for n in range(3)}, face="none")
    bench.crop("mine")
    found = exclude(bench, lines(bench)["1-f00.png"])
    assert sorted(found["crops"]) == ["0-f00.png", "2-f00.png"]


def test_everything_excluded_is_an_error_that_says_so(bench: Bench) -> None:
    bench.crop("mine")
    from model.errors import BudgetError

    with pytest.raises(BudgetError, match=r"dropped: \d excluded"):
        exclude(bench, "\n".join(lines(bench).values()))


@pytest.mark.parametrize(
    "line",
    [
        "00001-page-01-f00.png",
        "0123456789abcdef 1 2 3",
        "0123456789abcdef 1 2 3 0",
        "0123456789abcdef 1 2 -3 4",
        "0123456789ABCDEF 1 2 3 4",
        "0123456789abcde 1 2 3 4",
        "0123456789abcdef 1 2 3 4 5",
        "0123456789abcdef 1.5 2 3 4",
        "0123456789abcdef 1 2 3 99999999999999999999",
        "x" * 5000,
    ],
)
def test_a_line_that_is_none_is_named_with_file_and_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"# fine\n{line_of(SHA, Box(1, 2, 3, 4), 'a')}\n{line}\n")
    with pytest.raises(UsageError, match=r"^datasets\.a\.exclude: .*list\.txt: line 3: found '.*expected") as caught:
        read_exclusions(tmp_path / "list.txt", "datasets.a.exclude")
    assert len(str(caught.value)) < 600


def test_lists_written_on_other_systems_are_read(tmp_path: Path) -> None:
    text = f"\ufeff# list\r\n{line_of(SHA, Box(-1, -2, 3, 4), 'näme # ü')}\r\n   \r\n"
    (tmp_path / "list.txt").write_bytes(text.encode())
    (one,) = read_exclusions(tmp_path / "list.txt", "k")
    assert (one.number, one.picture, one.box) == (2, SHA[:16], Box(-1, -2, 3, 4))


def test_a_missing_list_and_one_that_is_no_text_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"datasets\.a\.exclude: .*no such file.*exclusions/none\.txt"):
        read_exclusions(tmp_path / "list.txt", "datasets.a.exclude")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_exclusions(tmp_path / "list.txt", "datasets.a.exclude")


def test_a_line_means_the_face_in_about_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(line_of(SHA, Box(100, 100, 50, 50), "a"))
    excluder = Excluder(read_exclusions(tmp_path / "list.txt", "k"))
    assert excluder(SHA, Box(130, 130, 50, 50)) is None
    assert excluder("f" * 64, Box(100, 100, 50, 50)) is None
    assert len(excluder.stale()) == 1
    assert excluder(SHA, Box(105, 95, 55, 55)) is not None
    assert excluder.stale() == []
