"""Source lmdb: files of rosinality's code and of ours, whole and damaged."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from PIL import Image

from model.data.images import encode_image
from model.data.lmdb_write import Packing, write_lmdb
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError, UserError
from stages.sources import packed
from stages.sources.child import Patience
from tests.stages.world import Bench, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def jpeg(value: int, size: int) -> bytes:
    noise = np.random.default_rng(value).integers(0, 256, (size, size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="JPEG", quality=100)
    return buffer.getvalue()


def rosinality(bench: Bench, records: dict[str, bytes], length: bytes | None, map_size: int = 1 << 40) -> Path:
    """Write a file as that code does, with its map of a terabyte."""
    place = bench.home / "in.lmdb"
    shutil.rmtree(place, ignore_errors=True)
    with lmdb.open(str(place), map_size=map_size, readahead=False) as env, env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key.encode(), value)
        if length is not None:
            transaction.put(b"length", length)
    return place


def sizes(count: int, *wanted: int) -> dict[str, bytes]:
    return {f"{size}-{index:05d}": jpeg(index, size) for index in range(count) for size in wanted}


def use(bench: Bench, **changes: object) -> None:
    bench.dataset("old", "lmdb", bench.home / "in.lmdb", **{"size": 32, **changes})


def record(bench: Bench, **changes: object) -> dict[str, Any]:
    use(bench, **changes)
    return json.loads((bench.crawl("old") / "crawl.json").read_text())  # type: ignore[no-any-return]


def test_pictures_of_one_size_keep_their_bytes_and_jpeg_stays_jpeg(bench: Bench) -> None:
    place = rosinality(bench, sizes(12, 16, 32), b"12")
    before = tree(place)
    found = record(bench)
    assert [name for name in sorted(found["files"])][:2] == ["00000-32-00000.jpg", "00001-32-00001.jpg"]
    assert (bench.home / "raw" / "old" / "00003-32-00003.jpg").read_bytes() == jpeg(3, 32)
    assert (found["count"], found["dropped"], found["found"]) == (12, [], 12)
    assert len({entry["group"] for entry in found["files"].values()}) == 12
    assert tree(place) == before  # not even a lock file
    assert record(bench, size=16)["count"] == 12


def test_importing_twice_gives_the_same_bytes(bench: Bench) -> None:
    rosinality(bench, sizes(6, 32), b"6")
    record(bench)
    first = tree(bench.home / "raw" / "old")
    record(bench)
    assert tree(bench.home / "raw" / "old") == first


def test_our_own_files_are_read_with_the_names_they_note(bench: Bench) -> None:
    images = [np.full((32, 32, 3), value, np.uint8) for value in range(5)]
    write_lmdb(bench.home / "in.lmdb", images, [f"face {n}" for n in range(5)], Packing([32], "png", workers=1))
    found = record(bench)
    assert [entry["packed_as"] for _, entry in sorted(found["files"].items())] == [f"face {n}" for n in range(5)]
    assert sorted(found["files"])[0] == "00000-32-00000.png"


def test_groups_that_our_own_files_note_are_kept(bench: Bench) -> None:
    meta = {"sources": [{"name": f"{n}", "group": f"episode {n // 3}"} for n in range(6)]}
    rosinality(bench, sizes(6, 32) | {"meta": json.dumps(meta).encode()}, b"6")
    assert {entry["group"] for entry in record(bench)["files"].values()} == {"episode 0", "episode 1"}


@pytest.mark.parametrize("meta", [b"no json", b"[]", b'{"sources": 3}', b'{"sources": [1, null]}', b"\xff"])
def test_a_strange_meta_record_does_not_matter(bench: Bench, meta: bytes) -> None:
    rosinality(bench, sizes(4, 32) | {"meta": meta}, b"4")
    assert record(bench)["count"] == 4


def test_gaps_broken_records_and_wrong_sizes_are_bad_items(bench: Bench) -> None:
    records = sizes(30, 32)
    del records["32-00007"]
    records["32-00008"] = records["32-00008"][:50]
    records["32-00009"] = jpeg(9, 40)
    rosinality(bench, records, b"30")
    found = record(bench, max_bad_fraction=0.1)
    assert (found["count"], found["reasons"]) == (27, {"missing": 1, "unreadable": 1, "wrong size": 1})
    assert [item["origin"] for item in found["dropped"]] == ["32-00007", "32-00008", "32-00009"]
    use(bench, max_bad_fraction=0.05)
    with pytest.raises(BudgetError, match=r"3 of 30 .*32-00007: no such record"):
        bench.crawl("old")


def test_a_file_without_its_length_is_read_as_far_as_it_goes_and_says_so(bench: Bench) -> None:
    rosinality(bench, sizes(20, 32), None)
    found = record(bench)
    assert found["count"] == 20
    assert found["reasons"] == {"no length": 1}
    assert "its writing was interrupted" in found["dropped"][0]["reason"]


@pytest.mark.parametrize("length", [b"999999999999", b"5000"])
def test_a_length_far_from_the_truth_is_an_error_and_no_endless_search(bench: Bench, length: bytes) -> None:
    rosinality(bench, sizes(4, 32), length)
    use(bench)
    with pytest.raises(CorruptInputError, match=f"`length` says {length.decode()}, but 4 images are there"):
        bench.crawl("old")


def test_a_size_that_is_not_there_lists_those_that_are(bench: Bench) -> None:
    rosinality(bench, sizes(3, 16, 32), b"3")
    use(bench, size=64)
    with pytest.raises(MissingInputError, match=r"datasets\.old\.size: .*no images of 64 px; there are: 16, 32"):
        bench.crawl("old")


@pytest.mark.parametrize("text", [True, False])
def test_basicsrs_layout_is_refused_by_name(bench: Bench, text: bool) -> None:
    place = rosinality(bench, {"00000000": encode_image(np.zeros((8, 8, 3), np.uint8), "png")}, None)
    if text:
        (place / "meta_info.txt").write_text("00000000.png (8,8,3) 1\n")
    use(bench)
    with pytest.raises(UsageError, match=r"datasets\.old\.where: .*BasicSR's layout .*source: folder"):
        bench.crawl("old")


def test_a_pick_reads_only_what_it_draws(bench: Bench) -> None:
    records = sizes(30, 32)
    for index in range(0, 30, 3):
        records[f"32-{index:05d}"] = b"broken"
    rosinality(bench, records, b"30")
    found = record(bench, pick={"count": 10, "seed": 0}, max_bad_fraction=0.9)
    assert found["count"] == 10
    assert found["found"] == 30


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_truncated_file_is_refused_before_it_is_mapped(bench: Bench, share: float) -> None:
    place = rosinality(bench, sizes(40, 32), b"40") / "data.mdb"
    os.truncate(place, int(place.stat().st_size * share))
    use(bench)
    with pytest.raises(CorruptInputError, match=r"data\.mdb"):
        bench.crawl("old")


def test_a_missing_folder_or_file_is_named(bench: Bench) -> None:
    use(bench)
    with pytest.raises(MissingInputError, match=r"datasets\.old\.where: .*no such folder; name the folder of"):
        bench.crawl("old")
    (bench.home / "in.lmdb").mkdir()
    with pytest.raises(MissingInputError, match=r"data\.mdb: no such file"):
        bench.crawl("old")


def test_a_file_that_differs_from_its_manifest_is_refused(bench: Bench) -> None:
    images = [np.full((32, 32, 3), value, np.uint8) for value in range(5)]
    write_lmdb(bench.home / "in.lmdb", images, ["x"] * 5, Packing([32], "png", workers=1))
    with (bench.home / "in.lmdb" / "data.mdb").open("ab") as file:
        file.write(b"x")
    use(bench)
    with pytest.raises(CorruptInputError, match=r"data\.mdb: content differs from MANIFEST"):
        bench.crawl("old")


@pytest.mark.slow
def test_damaged_pages_end_in_our_errors_whatever_lmdb_makes_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB believes its pages: a wrong one crashes or hangs the process that reads it, which is not this one."""
    monkeypatch.setattr(packed, "PATIENCE", Patience(stalled_s=3, memory=None))
    file = rosinality(bench, sizes(40, 32), b"40", map_size=1 << 24) / "data.mdb"
    whole, draw, refused = file.read_bytes(), random.Random(0), 0
    use(bench, max_bad_fraction=0.99)
    for _ in range(int(os.environ.get("CARTOON_FUZZ", "12"))):
        content = bytearray(whole)
        for _ in range(40):
            page = draw.randrange(2, len(content) // 4096) * 4096
            content[page + draw.randrange(200)] = draw.randrange(256)
        file.write_bytes(content)
        try:
            bench.crawl("old")
        except UserError as error:
            assert "data.mdb" in str(error) or "in.lmdb" in str(error)
            refused += 1
    assert refused
