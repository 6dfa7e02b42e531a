"""A generator of another day, measured as if a training of today had made it: by the stage ``evaluate`` itself.

Its file is laid out as a training with one snapshot and a sweep without a swap. What is measured of that cell is read,
and its similarity computed, by what the stage ``compare`` does with every other cell; so a generator that is a cell of
today's comparison gets that cell's numbers, to the last digit. A blend is measured whole: its own w are those of the
mapping network inside it, chosen by the techniques of the training that one of its parents comes from.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from model.checkpoint.native import manifest_path, read_header
from model.errors import UsageError
from model.files import atomic_write_json, publish_folder
from model.finetune import load_method
from model.finetune.technique import Technique
from pipeline.tracking import Run
from stages.comparing.likeness import SIMILARITY, measures, refuse_trained, trained_on, with_similarity
from stages.comparing.reading import Grid, Measured, read_evaluations
from stages.comparing.table import PAIRS
from stages.measuring.evaluation import Inputs, run_evaluation
from stages.measuring.instruments import Present
from stages.measuring.settings import EvaluateParams
from stages.swap import Take

FORMAT = 1  # of the JSON file
_METHOD, _SEED = "registered", "again"  # as what it stands in the place of a training
_FILE = "generator.safetensors"


@dataclass(frozen=True)
class Registered:
    """The generator."""

    file: Path  # with its manifest beside it
    techniques: dict[str, Any]  # by which it was tuned -> settings
    tuned_from: str  # sha256 of the source then


@dataclass(frozen=True)
class Today:
    """What it is measured beside; see :func:`stages.evaluate.evaluate`."""

    reference: Path
    lmdb: Path
    source: Path
    settings: EvaluateParams
    similarity: tuple[str, ...]  # compare.similarity


def measure_again(registered: Registered, today: Today, present: Present, out: Path, run: Run) -> None:
    """Write what the table of the comparison says of a cell, and what it was measured with, as JSON.

    Raises: UsageError if it is no generator like the source, or draws with a source that is gone; as the stages
        evaluate and compare.
    """
    _check_fits(registered, today.source)
    who = (_METHOD, today.lmdb.name, _SEED)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        folder = Path(scratch)
        trained, swaps = _lay_out(registered, who, folder)
        cell = folder / "evaluate" / "-".join(who)
        run_evaluation(
            Inputs(today.reference, today.lmdb, today.source, trained, swaps, cell), today.settings, present, run
        )
        measured = read_evaluations(cell.parent, Grid("", (who[1],), (who[0],), (who[2],)))
    atomic_write_json(out, _told(measured, today.similarity))


def _check_fits(registered: Registered, source: Path) -> None:
    theirs, ours = read_header(registered.file), read_header(source / "networks.safetensors")
    if theirs.generator is None or ours.generator is None or theirs.generator != ours.generator:
        raise UsageError(
            f"{registered.file}: a generator of another architecture ({theirs.generator}) than the source "
            f"({ours.generator}), so the two cannot draw the same faces; compare their pictures by eye"
        )
    borrowing = [one for one in load_method(registered.techniques) if type(one).styles is not Technique.styles]
    if borrowing and registered.tuned_from != ours.sha256:
        raise UsageError(
            f"{registered.file}: draws with style vectors of the source it was tuned from "
            f"({registered.tuned_from[:12]}), but {source} holds another one ({ours.sha256[:12]}); compare their "
            "pictures by eye"
        )


def _lay_out(registered: Registered, who: tuple[str, str, str], folder: Path) -> tuple[Path, Path]:
    """Return what stands for the outputs of the stages ``train`` and ``swap``."""
    trained, swaps = folder / "train", folder / "swap"
    names = dict(zip(("method", "dataset", "seed"), who, strict=True)) | {"techniques": registered.techniques}
    with publish_folder(trained, names) as files:
        shutil.copyfile(registered.file, files / _FILE)
        shutil.copyfile(manifest_path(registered.file), manifest_path(files / _FILE))
    take = Take(name="registered", kimg=0.0, file=_FILE, folder="")
    with publish_folder(swaps, names | {"levels": [], "kinds": [], "snapshots": [asdict(take)]}):
        pass
    return trained, swaps


def _told(measured: Measured, wanted: tuple[str, ...]) -> dict[str, Any]:
    (evaluation,) = measured.evaluations
    facts = evaluation.facts
    chosen = measures(wanted, measured.cells, measured.not_run)
    refuse_trained(chosen, trained_on({_METHOD: facts["techniques"]}))
    (cell,) = with_similarity(measured.cells, chosen)
    pairs = cell.pairs.get(SIMILARITY, np.empty(0)).tolist()
    names = ("n_gen", "n_pairs", "n_real", "n_heldout", "lmdb_digest", "z_sha256", "instruments", "made_with")
    return {
        "format": FORMAT,
        "generator": facts["weights"][_FILE],
        "source": facts["weights"]["source"],
        "style": measured.style,
        "measures": chosen,
        "facts": {name: facts[name] for name in names},
        "cell": {
            **cell.values, **cell.gates,
            f"{PAIRS}{SIMILARITY}": [value if math.isfinite(value) else None for value in pairs],
        },
    }  # fmt: skip
