"""Raw folders made by hand: slices of strips, records with landmarks, pictures that are broken."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, encode_image
from model.files import atomic_write_json, write_manifest
from tests.stages.world import Bench, face


def raw_folder(bench: Bench, name: str, files: Mapping[str, tuple[bytes, Mapping[str, Any]]], **dataset: Any) -> Path:
    """Add a dataset whose raw folder holds these files (content, what its record says besides)."""
    bench.folder_dataset(name, bench.home, **dataset)
    folder = bench.home / "raw" / name
    folder.mkdir(parents=True)
    records = {}
    for file, (content, record) in files.items():
        (folder / file).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        records[file] = {"origin": f"from {file}", "group": "all", "sha256": digest, **record}
    atomic_write_json(folder / "crawl.json", {"format": 2, "files": records, "dropped": [], "ignored": 0})
    write_manifest(folder)
    return folder


def png(image: UInt8) -> bytes:
    return encode_image(image, "png", compress_level=1)


def scroll(tops: tuple[int, ...], height: int, width: int = 230) -> UInt8:
    """Draw faces of 160 px below one another on paper."""
    paper = np.full((height, width, 3), 240, np.uint8)
    for index, top in enumerate(tops):
        paper[top : top + 160, 35:195] = face(index, 160)
    return paper


def slices(page: UInt8, cuts: tuple[int, ...], strip: str = "episode 1") -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Cut a page at these rows."""
    edges = [0, *cuts, page.shape[0]]
    parts = [page[top:bottom] for top, bottom in itertools.pairwise(edges)]
    return {
        f"{index:05d}-slice.png": (png(part), {"strip": strip, "order": index, "group": strip})
        for index, part in enumerate(parts)
    }
