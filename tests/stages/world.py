"""A tiny dataset on disk, and the stages called as functions, for the tests of crawl, crop and build_lmdb."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, write_png
from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render
from pipeline.tracking import Run
from stages.build_lmdb import build_lmdb
from stages.crawl import crawl
from stages.crop import crop

FACES = {
    "detector": {
        "kind": "cascade", "file": "opencv:haarcascade_frontalface_alt2.xml", "scale_factor": 1.1, "min_neighbors": 4,
        "mirror": False, "equalise": True, "min_face": 40,
    },
    "frame": {"kind": "square", "expand": 1.6, "shift_down": -0.1},
    "filters": {
        "min_side": 64, "max_outside": 0.2, "min_sharpness": 20.0, "max_per_image": 20, "near_duplicates": "keep",
        "duplicate_bits": 5,
    },
}  # fmt: skip
CROP = {"resolution": 32, "workers": 1, "max_bad_fraction": 0.1, "faces": {"photo": FACES}}
LMDB = {"sizes": [16], "codec": "png", "workers": 2, "heldout_fraction": 0.25, "min_heldout": 2}


class Bench:
    """One folder with a params file; JSON is YAML, so no YAML library is needed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run = Run(home / "record")
        self.values: dict[str, Any] = {"datasets": {}, "crop": CROP, "lmdb": LMDB}

    @property
    def params(self) -> Path:
        path = self.home / "params.yaml"
        path.write_text(json.dumps(self.values))
        return path

    def dataset(self, name: str, source: str, where: Path, **changes: object) -> None:
        """Add an entry; ``changes`` go over what most kinds of source need."""
        entry = {
            "source": source, "where": str(where), "pick": None, "max_bad_fraction": 0.1, "face": "photo",
            "exclude": str(self.home / "none.txt"), "license": "CC0-1.0",
        }  # fmt: skip
        (self.home / "none.txt").touch()
        self.values["datasets"][name] = entry | changes

    def folder_dataset(self, name: str, where: Path, **changes: object) -> None:
        self.dataset(name, "folder", where, **changes)

    def filters(self, **changes: object) -> None:
        """Change what the stage crop filters."""
        faces = {**FACES, "filters": {**FACES["filters"], **changes}}
        self.values["crop"] = {**self.values["crop"], "faces": {"photo": faces}}

    def crawl(self, name: str) -> Path:
        out = self.home / "raw" / name
        crawl(self.params, name, out, self.run)
        return out

    def lmdb(self, name: str) -> Path:
        out = self.home / "lmdb" / name
        raw, crops, card = (self.home / folder / name for folder in ("raw", "faces", "card"))
        build_lmdb(self.params, raw, crops, out, card, self.run)
        return out

    def crop(self, name: str) -> Path:
        out = self.home / "faces" / name
        crop(self.params, name, self.home / "raw" / name, out, self.run)
        return out


@cache
def face(index: int, size: int) -> UInt8:
    """Return a synthetic face, ``[size, size, 3]``."""
    return render(sample_attributes(0, index), "photo", size)


def faces_on_paper(folder: Path, count: int, per_page: int = 2) -> Path:
    """Write pages with faces side by side."""
    for number in range(count):
        paper = np.full((240, 230 * per_page, 3), 240, np.uint8)
        for place in range(per_page):
            paper[40:200, 230 * place + 35 : 230 * place + 195] = face(number * per_page + place, 160)
        write_png(folder / f"Page {number:02d}.png", paper)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder`` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
