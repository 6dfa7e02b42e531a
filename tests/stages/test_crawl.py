"""Stage crawl: the kinds of source, what is kept, what is dropped and said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.data.images import write_png
from model.errors import BudgetError, LockedError, MissingInputError
from model.files import sha256_file, verify_manifest
from pipeline.params import ParamsError
from stages import crawl
from stages.sources import shelf
from stages.sources.gather import gather
from stages.sources.shelf import slug
from tests.stages.world import Bench, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def picture(path: Path, value: int) -> Path:
    write_png(path, np.full((20, 20, 3), value, np.uint8))
    return path


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "crawl.json").read_text())  # type: ignore[no-any-return]


def test_files_keep_their_bytes_and_get_safe_names(bench: Bench) -> None:
    place = bench.home / "in"
    picture(place / "b" / "Épisode 1: Ünïcode ☃ ../x.png".replace("/", "_"), 1)
    picture(place / "a.png", 2)
    (place / "c.jpeg").write_bytes((place / "a.png").read_bytes() + b"\0")
    bench.folder_dataset("mine", place)
    out = bench.crawl("mine")
    verify_manifest(out)
    assert [path.name for path in sorted(out.iterdir())] == [
        "00000-a.png", "00001-c.png", "00002-episode-1-unicode-_x.png", "MANIFEST.json", "crawl.json",
    ]  # fmt: skip
    assert sha256_file(out / "00000-a.png") == sha256_file(place / "a.png")
    files = record(out)["files"]
    assert isinstance(files, dict)
    assert files["00000-a.png"] == {"group": "a.png", "origin": "a.png", "sha256": sha256_file(place / "a.png")}


def test_the_record_names_source_licence_and_count(bench: Bench) -> None:
    picture(bench.home / "in" / "a.png", 2)
    bench.folder_dataset("mine", bench.home / "in", license="CC BY 4.0, A. Nonymous")
    found = record(bench.crawl("mine"))
    assert (found["dataset"], found["source"], found["license"], found["count"]) == (
        "mine", "folder", "CC BY 4.0, A. Nonymous", 1,
    )  # fmt: skip


def test_gathering_twice_gives_the_same_folder(bench: Bench) -> None:
    for value in range(5):
        picture(bench.home / "in" / f"{value}.png", value)
    bench.folder_dataset("mine", bench.home / "in")
    once = tree(bench.crawl("mine"))
    assert tree(bench.crawl("mine")) == once


def test_broken_files_are_quarantined_with_a_reason_within_the_budget(bench: Bench) -> None:
    for value in range(19):
        picture(bench.home / "in" / f"{value:02d}.png", value)
    (bench.home / "in" / "half.png").write_bytes((bench.home / "in" / "03.png").read_bytes()[:60])
    bench.folder_dataset("mine", bench.home / "in", max_bad_fraction=0.05)
    found = record(bench.crawl("mine"))
    assert found["count"] == 19
    dropped = found["dropped"]
    assert isinstance(dropped, list)
    assert [item["origin"] for item in dropped] == ["half.png"]
    assert "truncated" in dropped[0]["reason"]


def test_more_broken_files_than_the_budget_stop_it_and_keep_the_old_folder(bench: Bench) -> None:
    for value in range(10):
        picture(bench.home / "in" / f"{value}.png", value)
    bench.folder_dataset("mine", bench.home / "in", max_bad_fraction=0.05)
    before = tree(bench.crawl("mine"))
    for name in ("x.jpg", "y.gif"):
        (bench.home / "in" / name).write_bytes(b"<html>")
    with pytest.raises(BudgetError, match=r"2 of 12 .*datasets\.mine\.max_bad_fraction.*x\.jpg"):
        bench.crawl("mine")
    assert tree(bench.home / "raw" / "mine") == before


def test_one_broken_file_never_stops_a_small_folder_unless_nothing_is_tolerated(bench: Bench) -> None:
    picture(bench.home / "in" / "a.png", 1)
    picture(bench.home / "in" / "b.png", 2)
    (bench.home / "in" / "c.png").write_bytes(b"")
    bench.folder_dataset("mine", bench.home / "in", max_bad_fraction=0.02)
    assert record(bench.crawl("mine"))["count"] == 2
    bench.folder_dataset("mine", bench.home / "in", max_bad_fraction=0.0)
    with pytest.raises(BudgetError):
        bench.crawl("mine")


def test_exact_duplicates_are_dropped_and_the_first_is_named(bench: Bench) -> None:
    picture(bench.home / "in" / "a.png", 1)
    picture(bench.home / "in" / "z" / "copy.png", 1)
    bench.folder_dataset("mine", bench.home / "in")
    found = record(bench.crawl("mine"))
    assert found["dropped"] == [{"origin": "z/copy.png", "reason": "same bytes as a.png"}]


def test_paths_are_relative_to_the_project(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(bench.home / "in" / "a.png", 1)
    monkeypatch.chdir(bench.home)
    bench.folder_dataset("mine", Path("in"))
    assert record(bench.crawl("mine"))["count"] == 1


def test_hidden_and_other_files_are_left_aside(bench: Bench) -> None:
    picture(bench.home / "in" / "a.png", 1)
    picture(bench.home / "in" / ".thumbnails" / "b.png", 2)
    picture(bench.home / "in" / ".c.png", 3)
    (bench.home / "in" / "readme.txt").write_text("hello")
    bench.folder_dataset("mine", bench.home / "in")
    found = record(bench.crawl("mine"))
    assert (found["count"], found["ignored"]) == (1, 1)


def test_every_kind_of_picture_keeps_its_bytes_under_its_true_suffix(bench: Bench) -> None:
    place = bench.home / "in"
    place.mkdir()
    for number, (suffix, true) in enumerate([(".gif", "GIF"), (".png", "JPEG"), (".jpg", "WEBP")]):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(place / f"{number}{suffix}", format=true)
    bench.folder_dataset("mine", place)
    out = bench.crawl("mine")
    assert [p.name for p in sorted(out.glob("0*"))] == ["00000-0.gif", "00001-1.jpg", "00002-2.webp"]


def test_a_missing_or_empty_folder_names_the_params_key(bench: Bench) -> None:
    bench.folder_dataset("mine", bench.home / "nowhere")
    with pytest.raises(MissingInputError, match=r"datasets\.mine\.where: .*nowhere: no such folder"):
        bench.crawl("mine")
    (bench.home / "nowhere").mkdir()
    (bench.home / "nowhere" / "notes.txt").write_text("x")
    with pytest.raises(MissingInputError, match=r"datasets\.mine\.where: .*no images .* among 1 files"):
        bench.crawl("mine")
    assert not (bench.home / "raw" / "mine").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"sauce": "folder"}, "unknown key 'sauce'"), ({"source": "web"}, "synthetic, folder"),
    ({"where": 3}, "where"), ({"pick": {"count": 3}}, "pick: missing 'seed'"), ({"group_by": "page"}, "group_by"),
    ({"max_bad_fraction": 1.5}, "max_bad_fraction"), ({"license": None}, "license"),
])  # fmt: skip
def test_a_wrong_entry_is_named_by_its_key(bench: Bench, changes: dict[str, object], message: str) -> None:
    bench.folder_dataset("mine", bench.home)
    bench.values["datasets"]["mine"] |= changes
    with pytest.raises(ParamsError, match=f"datasets.mine.*{message}"):
        bench.crawl("mine")


def test_an_unreadable_file_is_a_dropped_file(bench: Bench) -> None:
    for value in range(5):
        picture(bench.home / "in" / f"{value}.png", value)
    os.truncate(bench.home / "in" / "4.png", 8)
    bench.folder_dataset("mine", bench.home / "in", max_bad_fraction=0.5)
    assert record(bench.crawl("mine"))["count"] == 4


def test_synthetic_pages_are_drawn_the_same_every_time_with_their_faces_on_record(bench: Bench) -> None:
    bench.values["datasets"]["flat"] = {
        "source": "synthetic", "where": "model/data/synthetic", "style": "flat", "pages": 2, "seed": 5, "face": "photo",
        "exclude": "exclusions/none.txt", "license": "CC0-1.0",
    }  # fmt: skip
    out = bench.crawl("flat")
    first = tree(out)
    assert [name for name in first if name.endswith(".png")] == ["00000-flat.png", "00001-flat.png"]
    files = record(out)["files"]
    assert isinstance(files, dict)
    assert all(len(box) == 4 for entry in files.values() for box in entry["faces"])
    assert len({entry["group"] for entry in files.values()}) == 2
    assert tree(bench.crawl("flat")) == first


def test_folders_are_groups_if_they_shall_be(bench: Bench) -> None:
    for value, name in enumerate(["ep1/a.png", "ep1/b.png", "ep2/x/a.png", "c.png"]):
        picture(bench.home / "in" / name, value)
    bench.folder_dataset("mine", bench.home / "in", group_by="folder")
    files = record(bench.crawl("mine"))["files"]
    assert isinstance(files, dict)
    assert [entry["group"] for _, entry in sorted(files.items())] == [".", "ep1", "ep1", "ep2/x"]


def test_the_record_has_the_settings_and_totals_by_reason(bench: Bench) -> None:
    for value in range(30):
        picture(bench.home / "in" / f"{value}.png", value)
    (bench.home / "in" / "copy.png").write_bytes((bench.home / "in" / "0.png").read_bytes())
    (bench.home / "in" / "x.png").write_bytes(b"no picture")
    bench.folder_dataset("mine", bench.home / "in")
    found = record(bench.crawl("mine"))
    assert found["reasons"] == {"duplicate": 1, "unreadable": 1}
    assert found["settings"] == bench.values["datasets"]["mine"]
    assert found["found"] == 32


def test_an_animation_is_one_picture_and_its_frames_are_counted(bench: Bench) -> None:
    (bench.home / "in").mkdir()
    frames = [Image.new("RGB", (20, 20), (value, 0, 0)) for value in (0, 90, 180)]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(bench.home / "in" / f"{suffix}.{suffix}", save_all=True, append_images=frames[1:], duration=100)
    picture(bench.home / "in" / "still.png", 3)
    bench.folder_dataset("mine", bench.home / "in")
    files = record(bench.crawl("mine"))["files"]
    assert isinstance(files, dict)
    assert {entry["origin"]: entry.get("frames") for entry in files.values()} == {
        "gif.gif": 3, "webp.webp": 3, "png.png": 3, "still.png": None,
    }  # fmt: skip


def test_a_file_too_large_for_an_image_is_a_bad_item_and_not_read_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(bench.home / "in" / "a.png", 1)
    (bench.home / "in" / "b.png").write_bytes(bytes(5001))
    monkeypatch.setattr(shelf, "MAX_BYTES", 5000)
    bench.folder_dataset("mine", bench.home / "in")
    assert record(bench.crawl("mine"))["reasons"] == {"too large": 1}


def test_file_names_that_are_no_text_are_recorded_escaped(bench: Bench) -> None:
    picture(bench.home / "in" / "a.png", 1)
    (bench.home / "in" / "a.png").rename(os.fsdecode(os.fsencode(bench.home / "in") + b"/\xff\xfe.png"))
    bench.folder_dataset("mine", bench.home / "in")
    files = record(bench.crawl("mine"))["files"]
    assert files == {"00000-image.png": files["00000-image.png"]}  # type: ignore[index]
    assert files["00000-image.png"]["origin"] == "\\xff\\xfe.png"  # type: ignore[index]


def test_a_pipe_is_no_picture_and_is_not_waited_for(bench: Bench) -> None:
    place = bench.home / "in"
    place.mkdir()
    os.mkfifo(place / "pipe.png")
    bench.folder_dataset("mine", place)
    with pytest.raises(MissingInputError, match="no images"):
        bench.crawl("mine")


def test_of_two_crawls_at_once_the_second_is_told_and_the_first_is_not_disturbed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(bench.home / "in" / "a.png", 1)
    bench.folder_dataset("mine", bench.home / "in")
    bench.folder_dataset("other", bench.home / "in")

    def meanwhile(*arguments: object) -> object:
        monkeypatch.setattr(crawl, "gather", gather)
        with pytest.raises(LockedError, match=r"raw/mine: another process is writing it"):
            bench.crawl("mine")
        bench.crawl("other")
        return gather(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(crawl, "gather", meanwhile)
    assert record(bench.crawl("mine"))["count"] == 1
    assert record(bench.crawl("mine"))["count"] == 1  # the right is given back


@given(st.text(max_size=300))
def test_no_title_makes_a_dangerous_name(title: str) -> None:
    name = slug(title)
    assert 1 <= len(name) <= 60
    assert name.isascii()
    assert all(letter.isalnum() or letter in "-_" for letter in name)
    assert name == name.lower()
