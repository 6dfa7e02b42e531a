"""Source video: a list of clips becomes boxes of exactly those frames; every mistake in the list has its row."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.data.images import read_image
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from stages.sources import video
from stages.sources.child import Item, Patience
from stages.sources.clips import read_clips, shots
from stages.sources.film import Cut
from tests.sources.films import BLOCK, WHOLE, make, number_of, write_film
from tests.stages.world import Bench, tree

HEAD = "video,start_frame,end_frame,x,y,w,h"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "films").mkdir()
    return Bench(tmp_path)


def clips(bench: Bench, *rows: str, head: str = HEAD, **changes: object) -> Path:
    file = bench.home / "films" / "clips.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    bench.dataset("film", "video", file.parent, **changes)
    return file


def record(bench: Bench) -> dict[str, Any]:
    return json.loads((bench.crawl("film") / "crawl.json").read_text())  # type: ignore[no-any-return]


def numbers(bench: Bench, found: dict[str, Any]) -> list[int]:
    return [number_of(read_image(bench.home / "raw" / "film" / name)) for name in sorted(found["files"])]


@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi", "ffv1.mkv", "variable.mkv"])
def test_a_clip_gives_exactly_its_frames_and_both_ends_belong_to_it(bench: Bench, name: str) -> None:
    make(bench.home / "films", name, 50)
    clips(bench, f"{name},17,23,{WHOLE}")
    found = record(bench)
    assert numbers(bench, found) == [17, 18, 19, 20, 21, 22, 23]
    assert [entry["frame"] for _, entry in sorted(found["files"].items())] == [17, 18, 19, 20, 21, 22, 23]


def test_stride_takes_every_nth_frame_from_the_first_on_and_a_box_is_cut_exactly(bench: Bench) -> None:
    make(bench.home / "films", "ffv1.mkv", 50)
    clips(bench, f"ffv1.mkv,1,8,{BLOCK},0,{2 * BLOCK},{BLOCK},2,hero", head=HEAD + ",stride,label")
    found = record(bench)
    assert [entry["frame"] for _, entry in sorted(found["files"].items())] == [1, 3, 5, 7]
    pictures = [read_image(bench.home / "raw" / "film" / name) for name in sorted(found["files"])]
    assert {picture.shape for picture in pictures} == {(BLOCK, 2 * BLOCK, 3)}
    bits = [[bool(p[8, 8, 0] > 128), bool(p[8, 24, 0] > 128)] for p in pictures]  # the second and third bit
    assert bits == [[bool(n & 2), bool(n & 4)] for n in (1, 3, 5, 7)]
    assert sorted(found["files"])[0] == "00000-ffv1-000001-hero.png"


def test_films_and_rows_in_any_order_and_empty_optional_cells(bench: Bench) -> None:
    for name in ("b/ffv1.mkv", "a.mkv"):
        write_film(bench.home / "films" / name, 30, "ffv1")
    clips(bench, f"x,b/ffv1.mkv,20,21,,{WHOLE}", f",a.mkv,3,3,,{WHOLE}", "",
          f"y,b/ffv1.mkv,5,5,1,{WHOLE}", head="label,video,start_frame,end_frame,stride,x,y,w,h")  # fmt: skip
    found = record(bench)
    assert numbers(bench, found) == [3, 5, 20, 21]
    assert set(found["inputs"]) == {"clips.csv", "a.mkv", "b/ffv1.mkv"}


def test_a_byte_order_mark_of_a_spreadsheet_is_no_column(bench: Bench) -> None:
    make(bench.home / "films", "ffv1.mkv", 5)
    file = clips(bench, f"ffv1.mkv,1,1,{WHOLE}")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert numbers(bench, record(bench)) == [1]


def test_a_group_is_a_shot_and_never_a_frame(bench: Bench) -> None:
    make(bench.home / "films", "ffv1.mkv", 50)
    clips(bench, f"ffv1.mkv,0,4,{WHOLE},1,a", "ffv1.mkv,3,8,0,0,32,32,1,b", f"ffv1.mkv,9,9,{WHOLE},1,a",
          f"ffv1.mkv,20,22,{WHOLE},1,", head=HEAD + ",stride,label")  # fmt: skip
    groups = {entry["group"] for entry in record(bench)["files"].values()}
    assert groups == {"ffv1.mkv frames 0-9 a, b", "ffv1.mkv frames 20-22"}


@pytest.mark.parametrize(
    ("second", "apart"),
    [("20,29,0,0,9,9,b", False), ("30,39,0,0,9,9,a", False), ("30,39,0,0,9,9,b", True), ("31,39,0,0,9,9,a", True)],
    ids=["overlap", "go on", "go on under another label", "gap"],
)
def test_a_cut_is_where_frames_are_left_out_or_the_label_changes(tmp_path: Path, second: str, apart: bool) -> None:
    (tmp_path / "f.mp4").touch()
    head = "video,start_frame,end_frame,x,y,w,h,label"
    (tmp_path / "clips.csv").write_text(f"{head}\nf.mp4,20,29,0,0,9,9,a\nf.mp4,{second}\n")
    assert (len(set(shots(read_clips(tmp_path / "clips.csv")).values())) == 2) is apart


def test_shots_of_two_films_are_apart(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        (tmp_path / name).touch()
    (tmp_path / "clips.csv").write_text(f"{HEAD}\na.mkv,0,9,{WHOLE}\nb.mkv,0,9,{WHOLE}\n")
    assert len(set(shots(read_clips(tmp_path / "clips.csv")).values())) == 2


def test_crawling_twice_gives_the_same_bytes(bench: Bench) -> None:
    make(bench.home / "films", "h264_b.mp4", 30)
    clips(bench, f"h264_b.mp4,2,14,{WHOLE}")
    first = tree(bench.crawl("film"))
    assert tree(bench.crawl("film")) == first


def test_a_pick_draws_frames_before_anything_is_decoded(bench: Bench) -> None:
    make(bench.home / "films", "ffv1.mkv", 50)
    clips(bench, f"ffv1.mkv,0,49,{WHOLE}", pick={"count": 7, "seed": 3})
    found = record(bench)
    first = numbers(bench, found)
    assert (len(first), found["found"]) == (7, 50)
    assert first == sorted(first)
    clips(bench, f"ffv1.mkv,0,49,{WHOLE}", pick={"count": 7, "seed": 4})
    assert numbers(bench, record(bench)) != first


WRONG = {
    "unknown column": (HEAD + ",fps", [f"f.mkv,1,2,{WHOLE},25"], UsageError, r"row 1: unknown columns: 'fps'; exp"),
    "missing column": (HEAD[:-2], ["f.mkv,1,2,0,0,9"], UsageError, r"row 1: missing columns: 'h'"),
    "column twice": (HEAD + ",w", [f"f.mkv,1,2,{WHOLE},9"], UsageError, r"row 1: columns twice: 'w'"),
    "header twice": (HEAD, [HEAD], UsageError, r"row 2: start_frame: expected a whole number from 0 on, found 'start"),
    "semicolons": (HEAD.replace(",", ";"), [], UsageError, r"row 1: unknown columns: 'video;start"),
    "word": (HEAD, [f"f.mkv,1,2,{WHOLE}", f"f.mkv,one,2,{WHOLE}"], UsageError, r"row 3: start_frame: .*found 'one'"),
    "fraction": (HEAD, [f"f.mkv,1,2.5,{WHOLE}"], UsageError, r"row 2: end_frame: .*found '2\.5'"),
    "negative": (HEAD, ["f.mkv,1,2,-1,0,9,9"], UsageError, r"row 2: x: .*from 0 on, found '-1'"),
    "empty box": (HEAD, ["f.mkv,1,2,0,0,0,9"], UsageError, r"row 2: w: .*from 1 on, found '0'"),
    "no stride": (HEAD + ",stride", [f"f.mkv,1,2,{WHOLE},0"], UsageError, r"row 2: stride: .*from 1 on, found '0'"),
    "huge": (HEAD, [f"f.mkv,1,99999999999999999999,{WHOLE}"], UsageError, r"row 2: end_frame: expected"),
    "too many": (HEAD, [f"f.mkv,1,99999999,{WHOLE}"], UsageError, r"asks for 99999999 frames, more than"),
    "other digits": (HEAD, [f"f.mkv,1,٣,{WHOLE}"], UsageError, r"row 2: end_frame: expected"),
    "backwards": (HEAD, [f"f.mkv,5,2,{WHOLE}"], UsageError, r"row 2: end_frame: 2 is before start_frame 5"),
    "short row": (HEAD, ["f.mkv,1,2"], UsageError, r"row 2: 3 values, expected 7"),
    "long row": (HEAD, [f"f.mkv,1,2,{WHOLE},1"], UsageError, r"row 2: 8 values, expected 7"),
    "open quote": (HEAD, [f'"f.mkv,1,2,{WHOLE}'], UsageError, r"row 2: not CSV"),
    "no film": (HEAD, [f",1,2,{WHOLE}"], UsageError, r"row 2: video: expected the name of a film"),
    "missing film": (HEAD, [f"f.mkv,1,2,{WHOLE}", f"g.mkv,1,2,{WHOLE}"], MissingInputError, r"row 3: video: 'g\.mkv'"),
    "traversal": (HEAD, [f"../f.mkv,1,2,{WHOLE}"], UsageError, r"row 2: video: .*expected a name inside"),
    "absolute": (HEAD, [f"/etc/passwd,1,2,{WHOLE}"], UsageError, r"row 2: video: .*expected a name inside"),
    "no rows": (HEAD, [], UsageError, r"lists no clips"),
    "empty": ("", [], UsageError, r"row 1: missing columns"),
    "box outside": (HEAD, ["f.mkv,1,2,100,0,29,9"], UsageError, r"row 2: the box 29x9\+100\+0 leaves .* 128 x 32 px"),
    "box below": (HEAD, [f"f.mkv,1,2,{WHOLE}", "f.mkv,9,9,0,30,5,5"], UsageError, r"row 3: the box 5x5\+0\+30 leaves"),
    "beyond the end": (HEAD, [f"f.mkv,8,10,{WHOLE}"], UsageError, r"row 2: end_frame: frame 10 .*has 10 frames"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ten_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("ten") / "f.mkv", 10, "ffv1")


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_in_the_list_is_named_by_file_and_row(bench: Bench, ten_frames: Path, case: str) -> None:
    head, rows, kind, message = WRONG[case]
    (bench.home / "films" / "f.mkv").write_bytes(ten_frames.read_bytes())
    clips(bench, *rows, head=head)
    with pytest.raises(kind, match=r"clips\.csv: .*" + message if "row" in message else message):
        bench.crawl("film")
    assert not (bench.home / "raw" / "film").exists()


def test_a_list_that_is_missing_or_no_text_is_named(bench: Bench) -> None:
    file = clips(bench)
    file.write_bytes(b"video,start_frame\n\xff\xfe\n")
    with pytest.raises(CorruptInputError, match=r"clips\.csv: row 2: not UTF-8"):
        bench.crawl("film")
    file.unlink()
    with pytest.raises(MissingInputError, match=r"clips\.csv: no such file .*expected columns: video,start_frame"):
        bench.crawl("film")


def test_a_link_out_of_the_folder_is_refused(bench: Bench, ten_frames: Path) -> None:
    (bench.home / "films" / "f.mkv").symlink_to(ten_frames)
    clips(bench, f"f.mkv,1,2,{WHOLE}")
    with pytest.raises(UsageError, match=r"row 2: video: .* is a link that leads out of"):
        bench.crawl("film")


def test_a_film_that_cannot_be_decoded_costs_its_own_frames_within_the_budget(bench: Bench, ten_frames: Path) -> None:
    (bench.home / "films" / "good.mkv").write_bytes(ten_frames.read_bytes())
    (bench.home / "films" / "bad.mkv").write_bytes(b"no film at all" * 99)
    clips(bench, f"good.mkv,0,9,{WHOLE}", f"bad.mkv,3,3,{WHOLE}")
    found = record(bench)
    assert numbers(bench, found) == list(range(10))
    assert [item["origin"] for item in found["dropped"]] == ["bad.mkv frame 3 box 128x32+0+0"]
    assert "row 3: " in found["dropped"][0]["reason"]
    assert found["reasons"] == {"undecodable film": 1}
    clips(bench, f"bad.mkv,3,3,{WHOLE}")
    with pytest.raises(BudgetError, match=r"clips\.csv: row 2: .*bad\.mkv: cannot be decoded"):
        bench.crawl("film")


def dies(film: str, cuts: list[Cut]) -> Iterator[Item]:
    """A decoder that crashes on one film."""
    if "bad" in film:
        os.kill(os.getpid(), signal.SIGSEGV)
    yield from video.cut_film(film, cuts)


def hangs(film: str, cuts: list[Cut]) -> Iterator[Item]:
    while "bad" in film:
        signal.pause()
    yield from video.cut_film(film, cuts)


@pytest.mark.slow
@pytest.mark.parametrize(("decoder", "reason"), [(dies, r"died \(signal 11\)"), (hangs, "no sign of life for 8 s")])
def test_a_crash_or_hang_of_the_decoder_costs_its_film_alone(
    bench: Bench, ten_frames: Path, monkeypatch: pytest.MonkeyPatch, decoder: Any, reason: str
) -> None:
    monkeypatch.setattr(video, "cut_film", decoder)
    monkeypatch.setattr(video, "PATIENCE", Patience(stalled_s=8, memory=None))
    for name in ("good.mkv", "bad.mkv"):
        (bench.home / "films" / name).write_bytes(ten_frames.read_bytes())
    clips(bench, f"good.mkv,0,9,{WHOLE}", f"bad.mkv,3,3,{WHOLE}")
    found = record(bench)
    assert found["count"] == 10
    assert len(found["dropped"]) == 1
    assert re.search(reason, found["dropped"][0]["reason"])
