"""Entries of datasets: every kind can be written, and every mistake in it is named."""

from __future__ import annotations

import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.params import ParamsError
from stages.sources.settings import Source, read_source

SHARED = (
    "where: data/x, pick: null, max_bad_fraction: 0.02, face: anime, exclude: exclusions/none.txt, license: CC0-1.0"
)
ENTRIES = {
    "folder": f"{{source: folder, group_by: folder, {SHARED}}}",
    "zip": f"{{source: zip, group_by: file, max_gb: 4, {SHARED}}}",
    "video": f"{{source: video, {SHARED}}}",
    "lmdb": f"{{source: lmdb, size: 256, {SHARED}}}",
    "metfaces": f"{{source: metfaces, {SHARED}}}",
    "danbooru": f"{{source: danbooru, images: 512px, ratings: [s], require_tags: [], exclude_tags: [comic], {SHARED}}}",
}
OTHERS = {"synthetic", "webtoon", "urls"}  # tested beside their own code


def kinds() -> dict[str, type]:
    """Return the name of every kind of the union with its dataclass."""
    found = {}
    for kind in typing.get_args(Source):
        (name,) = typing.get_args(typing.get_type_hints(kind)["source"])
        found[name] = kind
    return found


def read(folder: Path, entry: object) -> Any:
    with (folder / "params.yaml").open("w") as file:
        YAML().dump({"datasets": {"mine": entry}}, file)
    return read_source(folder / "params.yaml", "mine")


def parse(name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(ENTRIES[name]))


def test_every_kind_has_an_example_here_or_tests_of_its_own() -> None:
    assert set(ENTRIES) <= set(kinds()) <= set(ENTRIES) | OTHERS


@pytest.mark.parametrize("name", ENTRIES)
def test_every_kind_can_be_built_from_its_example_and_has_no_defaults(tmp_path: Path, name: str) -> None:
    entry = parse(name)
    assert type(read(tmp_path, entry)) is kinds()[name]
    assert set(entry) == {field.name for field in fields(kinds()[name])}
    for key in set(entry) - {"source"}:
        with pytest.raises(ParamsError, match=rf"datasets\.mine: missing '{key}'"):
            read(tmp_path, {k: v for k, v in entry.items() if k != key})


@pytest.mark.parametrize("name", ENTRIES)
def test_an_unknown_key_is_named_in_every_kind(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParamsError, match=r"datasets\.mine: unknown key 'exclud'"):
        read(tmp_path, {**parse(name), "exclud": 1})


@pytest.mark.parametrize(("name", "changes", "message"), [
    ("folder", {"group_by": "episode"}, r"group_by: expected one of file, folder, found 'episode'"),
    ("folder", {"pick": 5}, r"pick: expected a mapping or null"),
    ("folder", {"pick": {"count": 0, "seed": 1}}, r"count must be at least 1"),
    ("folder", {"pick": {"count": 5}}, r"pick: missing 'seed'"), ("zip", {"max_gb": 0}, r"max_gb must be more than 0"),
    ("zip", {"max_bad_fraction": 2}, r"max_bad_fraction must be in \[0, 1\)"), ("lmdb", {"size": 0}, "size must be at"),
    ("lmdb", {"size": "256"}, r"size: expected an integer"), ("danbooru", {"images": "256px"}, r"images: expected one"),
    ("danbooru", {"ratings": "s"}, r"ratings: expected a list"), ("video", {"source": "film"}, r"source: expected one"),
])  # fmt: skip
def test_a_wrong_value_is_named_by_its_key(tmp_path: Path, name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=r"datasets\.mine.*" + message):
        read(tmp_path, {**parse(name), **changes})
