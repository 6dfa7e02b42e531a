"""Stage lmdb: pages are divided, never a page's faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.images import read_image, resize, write_png
from model.data.lmdb import LmdbImages
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from model.files import atomic_write_json, publish_folder, verify_manifest
from pipeline.params import ParamsError
from stages.build_lmdb import LmdbParams, build_lmdb, split
from tests.stages.world import Bench, face, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def crops_folder(bench: Bench, groups: dict[str, int]) -> Path:
    """What the stage crop leaves: ``groups`` gives the number of faces per page."""
    with publish_folder(bench.home / "faces") as folder:
        crops = {}
        for page, count in groups.items():
            for index in range(count):
                name = f"{page}-f{index:02d}.png"
                write_png(folder / "crops" / name, face(len(crops), 32))
                crops[name] = {"page": f"{page}.png", "group": page}
        atomic_write_json(folder / "report.json", {"format": 1, "resolution": 32, "crops": crops})
    return bench.home / "faces"


def build(bench: Bench, crops: Path) -> Path:
    build_lmdb(bench.params, crops, bench.home / "lmdb", bench.run)
    return bench.home / "lmdb"


def test_every_crop_is_in_exactly_one_part_and_no_page_in_both(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 1 + n % 3 for n in range(12)})
    out = build(bench, crops)
    verify_manifest(out)
    parts = json.loads((out / "split.json").read_text())["images"]
    assert sorted(parts["train"] + parts["heldout"]) == sorted(path.name for path in (crops / "crops").iterdir())
    pages = {part: {name.partition("-")[0] for name in names} for part, names in parts.items()}
    assert not pages["train"] & pages["heldout"]
    assert len(parts["heldout"]) >= 6


def test_the_lmdb_holds_the_crops_in_order_resized_by_the_one_policy(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    out = build(bench, crops)
    for part, names in json.loads((out / "split.json").read_text())["images"].items():
        images = LmdbImages(out / part, 16)
        assert len(images) == len(names)
        assert [source["name"] for source in images.meta["sources"]] == names
        for index, name in enumerate(names):
            assert (images[index] == resize(read_image(crops / "crops" / name), 16)).all()


def test_building_twice_gives_the_same_folder(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    once = tree(build(bench, crops))
    assert tree(build(bench, crops)) == once


@pytest.mark.parametrize("groups", [{"only": 40}, {"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}])
def test_too_few_images_or_pages_are_refused_with_the_numbers(bench: Bench, groups: dict[str, int]) -> None:
    crops = crops_folder(bench, groups)
    with pytest.raises(
        BudgetError, match=rf"{sum(groups.values())} crops from {len(groups)} pages .*lmdb\.min_heldout"
    ):
        build(bench, crops)
    assert not (bench.home / "lmdb").exists()


def test_crops_are_never_enlarged(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    bench.values["lmdb"] = bench.values["lmdb"] | {"resolution": 64}
    with pytest.raises(UsageError, match=r"lmdb\.resolution: 64 px, .* 32 px"):
        build(bench, crops)


def test_damaged_and_missing_crops_are_named(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    (crops / "crops" / "page3-f01.png").write_bytes(b"x")
    with pytest.raises(CorruptInputError, match="page3-f01"):
        build(bench, crops)
    with pytest.raises(MissingInputError):
        build(bench, bench.home / "nowhere")


@pytest.mark.parametrize("change", [{"heldout_fraction": 0.0}, {"heldout_fraction": 1}, {"min_heldout": 0}])
def test_a_division_that_leaves_nothing_is_refused_by_key(bench: Bench, change: dict[str, Any]) -> None:
    crops = crops_folder(bench, {"a": 2})
    bench.values["lmdb"] = bench.values["lmdb"] | change
    with pytest.raises(ParamsError, match=next(iter(change))):
        build(bench, crops)


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 9), min_size=2, max_size=40))
def test_the_division_depends_on_names_alone_and_keeps_groups_whole(groups: dict[str, int]) -> None:
    crops = {f"{group}-f{index}": {"group": group} for group, count in groups.items() for index in range(count)}
    settings = LmdbParams(16, "png", 0.2, 3)
    try:
        parts = split(crops, settings, Path("faces"))
    except BudgetError:
        return
    assert parts == split(dict(reversed(crops.items())), settings, Path("faces"))
    held = {crops[name]["group"] for name in parts["heldout"]}
    assert not held & {crops[name]["group"] for name in parts["train"]}
    assert len(parts["heldout"]) >= max(3, 0.2 * len(crops))
    assert len(parts["train"]) >= 3


def test_a_new_page_moves_few_old_ones() -> None:
    def crops(pages: int) -> dict[str, dict[str, str]]:
        return {f"{n}": {"group": f"page {n}"} for n in range(pages)}

    settings = LmdbParams(16, "png", 0.2, 3)
    before = set(split(crops(100), settings, Path("faces"))["heldout"])
    after = set(split(crops(101), settings, Path("faces"))["heldout"])
    assert len(before - after) <= 1
