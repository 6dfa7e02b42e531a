"""Features of real images as files: taken once per dataset, read by everything that is compared with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from model.data.lmdb import LmdbImages
from model.errors import BudgetError, CorruptInputError, MissingInputError
from model.files import atomic_write, verify_manifest
from model.metrics.extractors.base import FeatureExtractor, Floats, Instrument
from stages.measuring.settings import FEWEST

ENTRY = "cartoon"  # the one key of the safetensors metadata; several would be written in an order that changes
REPORT = "reference.json"
BATCH = 64  # images read from the LMDB and measured at once


@dataclass(frozen=True)
class Reals:
    """The real images of a dataset at one resolution, unread."""

    train: LmdbImages
    heldout: LmdbImages

    @property
    def digest(self) -> str:
        """Hash of both parts' content."""
        return hashlib.sha256(f"{self.train.digest} {self.heldout.digest}".encode()).hexdigest()


def open_reals(lmdb: Path, resolution: int) -> Reals:
    """Open both parts of a dataset.

    Raises: as :class:`model.data.lmdb.LmdbImages`; BudgetError for too few images.
    """
    reals = Reals(LmdbImages(lmdb / "train", resolution), LmdbImages(lmdb / "heldout", resolution))
    if len(reals.train) < FEWEST or len(reals.heldout) < 2:
        raise BudgetError(
            f"{lmdb}: {len(reals.train)} training and {len(reals.heldout)} held-out images; distances between "
            f"distributions need at least {FEWEST} and 2: collect more images, or relax the crop stage"
        )
    return reals


def read_images(images: LmdbImages, indices: Iterable[int]) -> NDArray[np.uint8]:
    """Decode some images, ``[N, R, R, 3]``."""
    return np.stack([images[int(index)] for index in indices])


def take_features(images: LmdbImages, extractor: FeatureExtractor) -> Floats:
    """Measure every image, a batch of pixels in memory at a time: float32 ``[N, dim]``."""
    starts = range(0, len(images), BATCH)
    return np.concatenate(
        [extractor(read_images(images, range(start, min(start + BATCH, len(images))))) for start in starts]
    )


def write_features(folder: Path, extractor: Instrument, digest: str, train: Floats, heldout: Floats) -> None:
    """Write ``<extractor name>.safetensors``; equal content gives equal bytes."""
    text = json.dumps(_header(extractor, digest), sort_keys=True)
    data = save({"train": train, "heldout": heldout}, metadata={ENTRY: text})
    atomic_write(folder / f"{extractor.name}.safetensors", lambda file: file.write(data))


def read_report(folder: Path, digest: str) -> dict[str, Any]:
    """Return what ``reference.json`` says, after checking the folder and that it is of these images.

    Raises: as :func:`model.files.verify_manifest`; CorruptInputError if it was taken from other images.
    """
    verify_manifest(folder)
    report: dict[str, Any] = json.loads((folder / REPORT).read_text())
    if report["lmdb_digest"] != digest:
        raise CorruptInputError(
            f"{folder}: features of other images (LMDB {report['lmdb_digest'][:12]}, expected {digest[:12]}); run "
            "`dvc repro` to take them again"
        )
    return report


def read_features(folder: Path, extractor: Instrument, digest: str) -> tuple[Floats, Floats]:
    """Return the features of training and held-out images by an extractor, float32 ``[N, dim]`` each.

    Raises: MissingInputError if this extractor was not asked for then; CorruptInputError if they were taken by other
        weights, with other preprocessing or from other images.
    """
    path = folder / f"{extractor.name}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(one.stem for one in folder.glob("*.safetensors"))) or "none"
        raise MissingInputError(
            f"{path}: no features of real images by {extractor.name} (there are: {there}); "
            f"run `dvc repro --single-item --force reference@{folder.name}`, then `dvc repro`"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
            train, heldout = file.get_tensor("train"), file.get_tensor("heldout")
    except (SafetensorError, ValueError) as error:
        raise CorruptInputError(f"{path}: not a file of features ({error}); run `dvc repro` to take them") from error
    expected = _header(extractor, digest)
    wrong = {name: header.get(name) for name in expected if header.get(name) != expected[name]}
    if wrong:
        wanted = {name: expected[name] for name in wrong}
        raise CorruptInputError(
            f"{path}: {_say(wrong)}, expected {_say(wanted)}; run `dvc repro --single-item --force "
            f"reference@{folder.name}`, then `dvc repro`"
        )
    return train, heldout


def _header(extractor: Instrument, digest: str) -> dict[str, str]:
    return {
        "extractor": extractor.name, "weights_sha256": extractor.weights_sha256, "preprocess": extractor.preprocess_id,
        "lmdb_digest": digest,
    }  # fmt: skip


def _say(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
