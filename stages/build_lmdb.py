"""DVC stage ``lmdb``: pack face crops into a training and a held-out LMDB file, divided by page."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.lmdb import write_lmdb
from model.errors import BudgetError, UsageError
from model.files import atomic_write_json, publish_folder, verify_manifest
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as command


@dataclass(frozen=True)
class LmdbParams:
    """Settings of the stage."""

    resolution: int  # px, of the square images written
    codec: str  # png is lossless; jpeg artefacts move FID
    heldout_fraction: float  # share of the images that training never sees
    min_heldout: int  # images; fewer cannot be measured against

    def __post_init__(self) -> None:
        """Refuse a division that leaves one part empty."""
        if not 0 < self.heldout_fraction < 1:
            raise ValueError(f"heldout_fraction must be in (0, 1), found {self.heldout_fraction}")
        if self.min_heldout < 1:
            raise ValueError(f"min_heldout must be at least 1, found {self.min_heldout}")


def build_lmdb(params: Path, crops: Path, out: Path, run: Run) -> None:
    """Write the crops in --crops to --out/train and --out/heldout, so that no page is in both."""
    settings = read_section(params, "lmdb", LmdbParams)
    verify_manifest(crops)
    report = json.loads((crops / "report.json").read_text())
    if settings.resolution > report["resolution"]:
        raise UsageError(
            f"lmdb.resolution: {settings.resolution} px, but the crops in {crops} have {report['resolution']} px; "
            "raise crop.resolution or lower lmdb.resolution"
        )
    parts = split(report["crops"], settings, crops)
    with publish_folder(out) as folder:
        for part, names in parts.items():
            files = [crops / "crops" / name for name in names]
            write_lmdb(folder / part, files, resolution=settings.resolution, codec=settings.codec, names=names)
        groups = {part: sorted({report["crops"][name]["group"] for name in names}) for part, names in parts.items()}
        atomic_write_json(folder / "split.json", {"format": 1, "images": parts, "groups": groups})
    run.log_metrics({f"{part}_images": len(names) for part, names in parts.items()})
    run.log_artifact(out / "split.json")


def split(crops: Mapping[str, Mapping[str, Any]], settings: LmdbParams, where: Path) -> dict[str, list[str]]:
    """Divide crops into ``train`` and ``heldout`` by group (page, episode).

    Groups are drawn in the order of a hash of their names, so new pages hardly move old ones.

    Args:
        crops: name -> entry with its ``group``.
        settings: share and least number of held-out images.
        where: the folder of the crops, for messages.

    Raises: BudgetError if there are too few images, or too few groups, for both parts.
    """
    sizes = Counter(entry["group"] for entry in crops.values())
    wanted = max(settings.min_heldout, math.ceil(settings.heldout_fraction * len(crops)))
    heldout: set[str] = set()
    taken = 0
    for group in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if taken >= wanted:
            break
        heldout.add(group)
        taken += sizes[group]
    train = len(crops) - taken
    if taken < wanted or train < settings.min_heldout:
        raise BudgetError(
            f"{where}: {len(crops)} crops from {len(sizes)} pages are too few: at least {wanted} are held out "
            f"(lmdb.min_heldout, lmdb.heldout_fraction), whole pages each, which leaves {train} of at least "
            f"{settings.min_heldout} for training; add pages, find more faces, or lower these numbers"
        )
    parts: dict[str, list[str]] = {"train": [], "heldout": []}
    for name in sorted(crops):
        parts["heldout" if crops[name]["group"] in heldout else "train"].append(name)
    return parts


if __name__ == "__main__":
    command(build_lmdb)
