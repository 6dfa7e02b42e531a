"""Stage lmdb: pages are divided, never a page's faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import read_image, resize, write_png
from model.data.lmdb import LmdbImages
from model.errors import BudgetError, CorruptInputError, LockedError, MissingInputError, UsageError
from model.files import MANIFEST, atomic_write_json, publish_folder, sha256_file, verify_manifest, write_manifest
from model.locks import alone
from pipeline.params import ParamsError
from tests.stages.world import Bench, face, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def crops_folder(bench: Bench, groups: dict[str, int], alike: list[list[str]] | None = None) -> Path:
    """What the stages crawl and crop leave: ``groups`` gives the number of faces per page."""
    with publish_folder(bench.home / "raw" / "tiny") as folder:
        files = {f"{page}.png": {"origin": f"of {page}", "group": page, "sha256": "0"} for page in groups}
        about = {"source": "folder", "license": "CC0-1.0", "dropped": [], "ignored": 3, "count": len(files)}
        atomic_write_json(folder / "crawl.json", {"format": 2, "dataset": "tiny", "files": files, **about})
    with publish_folder(bench.home / "faces" / "tiny") as folder:
        crops = {}
        for page, count in groups.items():
            for index in range(count):
                name = f"{page}-f{index:02d}.png"
                write_png(folder / "crops" / name, face(len(crops), 32))
                crops[name] = {"page": f"{page}.png", "group": page, "score": 0.5 + index}
        atomic_write_json(folder / "report.json", {
            "format": 2, "dataset": "tiny", "resolution": 32, "crops": crops, "near_duplicates": alike or [],
            "dropped": [{"page": "x", "box": [0, 0, 1, 1], "reason": "too small: 12 px, min_side is 64"}] * 2,
            "detector": {"name": "cascade", "sha256": "abc"}, "counts": {"found": len(crops) + 2, "kept": len(crops)},
        })  # fmt: skip
    return bench.home / "faces" / "tiny"


def build(bench: Bench, crops: Path) -> Path:
    return bench.lmdb(crops.name)


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
        BudgetError, match=rf"{sum(groups.values())} crops from {len(groups)} groups .*lmdb\.min_heldout"
    ):
        build(bench, crops)
    assert not (bench.home / "lmdb").exists()


def test_crops_are_never_enlarged(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    bench.values["lmdb"] = bench.values["lmdb"] | {"sizes": [16, 64]}
    with pytest.raises(UsageError, match=r"lmdb\.sizes: 64 px, .* 32 px"):
        build(bench, crops)


def test_damaged_and_missing_crops_are_named(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    (crops / "crops" / "page3-f01.png").write_bytes(b"x")
    with pytest.raises(CorruptInputError, match="page3-f01"):
        build(bench, crops)
    with pytest.raises(MissingInputError):
        build(bench, bench.home / "nowhere")


def test_a_missing_or_changed_record_of_the_pictures_is_named(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(6)})
    record = bench.home / "raw" / "tiny" / "crawl.json"
    whole = record.read_text()
    record.write_text(whole.replace("CC0", "CC9"))
    with pytest.raises(CorruptInputError, match=r"crawl\.json: missing, or not what"):
        build(bench, crops)
    (record.parent / "MANIFEST.json").write_text("{}")
    with pytest.raises(CorruptInputError, match=r"MANIFEST\.json: does not say what crawl\.json is"):
        build(bench, crops)
    (record.parent / "MANIFEST.json").unlink()
    with pytest.raises(MissingInputError, match="run the stage crawl"):
        build(bench, crops)
    assert not (bench.home / "lmdb").exists()


def test_several_sizes_are_there_for_whoever_asks(bench: Bench) -> None:
    bench.values["lmdb"] = bench.values["lmdb"] | {"sizes": [32, 8]}
    out = build(bench, crops_folder(bench, {f"page{n}": 2 for n in range(6)}))
    assert (LmdbImages(out / "train", 32)[0].shape, LmdbImages(out / "train", 8)[0].shape) == ((32, 32, 3), (8, 8, 3))
    with pytest.raises(MissingInputError, match=r"prepared: 8 px, 32 px.*add 16 to lmdb\.sizes"):
        LmdbImages(out / "train", 16)


def test_the_result_is_the_same_for_any_number_of_workers(bench: Bench) -> None:
    crops, trees = crops_folder(bench, {f"page{n}": 2 for n in range(12)}), []
    for workers in (1, 2, "auto"):
        bench.values["lmdb"] = bench.values["lmdb"] | {"workers": workers}
        trees.append(tree(build(bench, crops)) | tree(bench.home / "card"))
    assert trees[0] == trees[1] == trees[2]


def test_near_copies_on_two_pages_are_in_one_part(bench: Bench) -> None:
    pages = {f"page{n}": 2 for n in range(12)}
    parts = json.loads((build(bench, crops_folder(bench, pages)) / "split.json").read_text())["images"]
    alike = [[parts["train"][0], parts["heldout"][0]]]
    parts = json.loads((build(bench, crops_folder(bench, pages, alike)) / "split.json").read_text())["images"]
    assert len({name in parts["heldout"] for name in alike[0]}) == 1


def test_every_flipped_bit_and_every_truncation_of_the_output_is_found_before_it_is_mapped(bench: Bench) -> None:
    out = build(bench, crops_folder(bench, {f"page{n}": 2 for n in range(12)}))
    random = np.random.default_rng(0)
    for part in ("train", "heldout"):
        file = out / part / "data.mdb"
        whole = file.read_bytes()
        for at in random.integers(0, len(whole), 250):
            broken = bytearray(whole)
            broken[at] ^= 1 << int(random.integers(8))
            file.write_bytes(broken)
            with pytest.raises(CorruptInputError, match=rf"{part}/data\.mdb"):
                LmdbImages(out / part, 16)
        for cut in random.integers(0, len(whole), 20):
            file.write_bytes(whole[:cut])
            with pytest.raises(CorruptInputError, match=rf"{part}/data\.mdb"):
                LmdbImages(out / part, 16)
            with pytest.raises(CorruptInputError, match=r"data\.mdb"):
                verify_manifest(out)
        file.write_bytes(whole)
        assert len(LmdbImages(out / part, 16)) > 0


def test_a_second_builder_of_the_same_output_is_sent_away_and_one_of_another_is_not(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(12)})
    with alone(bench.home / "lmdb" / "tiny"):
        with pytest.raises(LockedError, match="lmdb/tiny: another process is writing it"):
            build(bench, crops)
        with alone(bench.home / "lmdb" / "other"):
            pass
    verify_manifest(build(bench, crops))


def test_a_place_that_cannot_be_written_is_named(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(12)})
    (bench.home / "lmdb").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="lmdb/tiny: cannot be written"):
        build(bench, crops)


def test_the_card_says_what_is_in_the_lmdb_and_where_it_comes_from(bench: Bench) -> None:
    crops = crops_folder(bench, {f"page{n}": 2 for n in range(12)}, [["page1-f00.png", "page2-f01.png"]])
    out = build(bench, crops)
    card = bench.home / "card" / "tiny"
    verify_manifest(card)
    facts = json.loads((card / "card.json").read_text())
    for part in ("train", "heldout"):
        pixels = LmdbImages(out / part, 16).read_all().reshape(-1, 3)
        assert facts["parts"][part]["images"] == len(LmdbImages(out / part, 16))
        assert facts["parts"][part]["mean"] == pytest.approx(pixels.mean(0), abs=0.01)
        assert facts["parts"][part]["std"] == pytest.approx(pixels.std(0), abs=0.01)
        assert facts["parts"][part]["score"]["max"] == 1.5
    assert (facts["license"], facts["permission"], facts["source"]) == ("CC0-1.0", "none stated", {"kind": "folder"})
    assert facts["pictures"] == {"kept": 12, "dropped": 0, "ignored": 3}
    assert facts["dropped_faces"] == {"too small": 2}
    assert facts["near_copies"] == {"sets": 1, "crops": 2, "joined_groups": 2}
    assert facts["hashes"]["lmdb"] == sha256_file(out / MANIFEST)
    assert facts["hashes"]["raw"] == sha256_file(bench.home / "raw" / "tiny" / MANIFEST)
    assert sum(group["crops"] for group in facts["groups"]["largest"]) == 24
    page = (card / "card.md").read_text()
    for text in ("# Dataset `tiny`", "| licence | CC0-1.0 |", "too small", "of page3", facts["hashes"]["lmdb"]):
        assert text in page
    assert read_image(card / "card.png").shape[1] > 10 * 64
    journal = [json.loads(line) for line in (bench.run.folder / "journal.jsonl").read_text().splitlines()]
    (dataset,) = [entry for entry in journal if entry["kind"] == "dataset"]
    digest = sha256_file(out / "train" / MANIFEST)
    assert (dataset["name"], dataset["digest"], dataset["context"]) == ("tiny", digest, "build")


def test_other_words_in_a_card_leave_the_lmdb_as_it_was(bench: Bench) -> None:
    groups = {f"page{n}": 2 for n in range(12)}
    before = tree(build(bench, crops_folder(bench, groups)))
    record = bench.home / "raw" / "tiny"
    told = json.loads((record / "crawl.json").read_text()) | {"permission": {"a|title": {"permission": "mine\n<b>"}}}
    atomic_write_json(record / "crawl.json", told)
    write_manifest(record)
    assert tree(build(bench, bench.home / "faces" / "tiny")) == before
    page = (bench.home / "card" / "tiny" / "card.md").read_text()
    assert "| permission: a\\|title | permission: mine &lt;b> |" in page


@pytest.mark.parametrize("change", [{"heldout_fraction": 0.0}, {"heldout_fraction": 1}, {"min_heldout": 0}])
def test_a_division_that_leaves_nothing_is_refused_by_key(bench: Bench, change: dict[str, Any]) -> None:
    crops = crops_folder(bench, {"a": 2})
    bench.values["lmdb"] = bench.values["lmdb"] | change
    with pytest.raises(ParamsError, match=next(iter(change))):
        build(bench, crops)
