"""The stage ``evaluate`` once the weights are known to be here: open, measure, write, record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model.files import publish_folder
from model.ops.memory import keep_freed_memory
from pipeline.tracking import Run
from stages.measuring.drawing import Cells
from stages.measuring.exact import be_exact, made_with
from stages.measuring.instruments import Opened, Present, Reasons, open_all
from stages.measuring.measure import Found, Study
from stages.measuring.output import record, rows_of, write
from stages.measuring.reals import open_reals, read_report
from stages.measuring.settings import EvaluateParams
from stages.measuring.sides import BLOCKS, open_style
from stages.processes import pick_device

FORMAT = 3  # of metrics.json; 1 knew no snapshots, 2 neither extractors by choice nor numbers per pair


@dataclass(frozen=True)
class Inputs:
    """What an evaluation reads and where it writes; see :func:`stages.evaluate.evaluate`."""

    reference: Path
    lmdb: Path
    source: Path
    trained: Path
    swaps: Path
    out: Path


def run_evaluation(inputs: Inputs, settings: EvaluateParams, present: Present, run: Run) -> None:
    """Measure every cell and publish the folder.

    Raises: whatever reading the inputs raises; nothing is drawn then.
    """
    keep_freed_memory()
    be_exact()
    opened = open_all(present)
    cells = Cells(inputs.source, inputs.trained, inputs.swaps, pick_device(settings.device))
    reals = open_reals(inputs.lmdb, cells.source.config.resolution)
    report = read_report(inputs.reference, reals.digest)
    style = open_style(opened, inputs.reference, reals, settings)
    study = Study(cells, reals, style, opened, settings)
    who = {name: cells.details[name] for name in ("method", "dataset", "seed")}
    with publish_folder(inputs.out, who) as folder:
        with TemporaryDirectory(dir=folder) as scratch:
            found = study.run(Path(scratch), report["floors"])
        missing = present.not_run + style.not_run + _no_smoothness(settings) + found.not_run()
        metrics = {"format": FORMAT, **who, **_facts(study, opened, found), "not_run": missing}
        write(folder, metrics, cells, found)
    record(run, inputs.out, metrics, inputs.lmdb, reals)


def _facts(study: Study, opened: Opened, found: Found) -> dict[str, Any]:
    cells, reals = study.cells, study.reals
    return {
        "techniques": cells.details["techniques"],
        "snapshots": {take.name: take.kimg for take in cells.takes},
        "anchors": found.anchors,
        "cells": rows_of(cells, found),
        "instruments": opened.listed(),
        "style": study.style.ranks.name,
        "n_gen": len(study.z),
        "n_pairs": study.settings.pairs,
        "n_real": len(reals.train),
        "n_heldout": len(reals.heldout),
        "n_blocks": BLOCKS,
        "z_sha256": study.z_sha256,
        "lmdb_digest": reals.digest,
        "weights": cells.sha256,
        "made_with": made_with(cells.device),
    }


def _no_smoothness(settings: EvaluateParams) -> Reasons:
    return [] if settings.path_length else [{"metric": "ppl", "reason": "evaluate.path_length is 0"}]
