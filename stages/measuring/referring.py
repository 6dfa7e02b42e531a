"""The stage ``reference`` once the weights are known to be here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.errors import CorruptInputError
from model.files import atomic_write_json, publish_folder
from model.metrics.extractors.base import FeatureExtractor
from model.metrics.extractors.catalogue import kind_of
from model.metrics.memorisation import nearest
from model.metrics.names import parse
from model.metrics.target import TargetSide
from model.ops.memory import keep_freed_memory
from model.progress import track
from pipeline.tracking import Run
from stages.measuring.exact import be_exact
from stages.measuring.instruments import Opened, Present, open_all
from stages.measuring.output import record_images
from stages.measuring.reals import REPORT, Reals, open_reals, take_features, write_features
from stages.measuring.sides import finite

FORMAT = 1  # of reference.json


def take_reference(lmdb: Path, out: Path, present: Present, resolution: int, seed: int, run: Run) -> None:
    """Write the features of training and held-out images by every extractor, and what metrics say of two halves.

    Raises: as :func:`stages.measuring.reals.open_reals`; CorruptInputError if held-out images were trained on.
    """
    keep_freed_memory()
    be_exact()
    opened = open_all(present)
    reals = open_reals(lmdb, resolution)
    floors: dict[str, dict[str, float | None]] = {}
    with publish_folder(out, {"dataset": lmdb.name}) as folder:
        for extractor in track(_extractors(opened), "reference", unit="extractors"):
            train, heldout = (take_features(images, extractor) for images in (reals.train, reals.heldout))
            write_features(folder, extractor, reals.digest, train, heldout)
            side = TargetSide(extractor.name, train, heldout, seed)
            _check_apart(lmdb, side)
            floor = side.floor(len(reals.train))  # their number leaves the names again: cells have another
            floors[extractor.name] = finite({parse(name).family: value for name, value in floor.items()})
        atomic_write_json(folder / REPORT, _report(reals, floors, opened, present))
    first = next(iter(floors))
    run.log_metrics({f"{family}[{first}]": value for family, value in floors[first].items() if value is not None})
    run.log_params({"n_real": len(reals.train), "n_heldout": len(reals.heldout), "lmdb_digest": reals.digest})
    run.log_artifact(out / REPORT)
    record_images(run, lmdb, reals)


def _extractors(opened: Opened) -> list[FeatureExtractor]:
    """Everything that takes features, once each; distances between pictures need the pictures themselves."""
    every = {**opened.of("style"), **opened.of("diversity")}
    return [one for name, one in every.items() if kind_of(name).role != "distance"]


def _check_apart(lmdb: Path, side: TargetSide) -> None:
    if nearest(side.heldout, side.train) == 0.0:
        raise CorruptInputError(
            f"{lmdb}: most held-out images are copies of training images, so neither fit nor memorisation can be "
            "measured on them; remove duplicates from the dataset and pack it again"
        )


def _report(
    reals: Reals, floors: dict[str, dict[str, float | None]], opened: Opened, present: Present
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "n_real": len(reals.train),
        "n_heldout": len(reals.heldout),
        "resolution": reals.train.resolution,
        "lmdb_digest": reals.digest,
        "floors": floors,  # each holds n_half and n_other_half, too: the images that it is of
        "instruments": opened.listed(),
        "not_run": present.not_run,
    }
