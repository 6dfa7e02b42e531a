"""DVC stage ``reference``: features of real images, taken once per dataset for everything compared with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.measuring.instruments import Asked, look_for
from stages.measuring.settings import OnMissing


def reference(params: Path, lmdb: Path, out: Path, run: Run) -> None:
    """Take the features of the images in --lmdb by every measuring network of --params that needs some; write --out."""
    style = read_section(params, "evaluate.style", tuple[str, ...])
    diversity = read_section(params, "evaluate.diversity", str)
    on_missing: OnMissing = read_section(params, "evaluate.on_missing", cast(Any, OnMissing))
    seed = read_section(params, "evaluate.seed", int)
    resolution = read_section(params, "pretrained.resolution", int)  # of what will be compared with them
    names = {"style": style, "diversity": (diversity,)}
    present = look_for(Asked(params, names, on_missing, (f"reference@{lmdb.name}",)))

    from stages.measuring.referring import take_reference  # takes seconds: torch and all it needs

    take_reference(lmdb, out, present, resolution, seed, run)


if __name__ == "__main__":
    run_stage(reference)
