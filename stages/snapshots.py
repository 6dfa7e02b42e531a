"""Snapshots of a training: taken and judged on the way, the best kept, a training that memorises ended."""

from __future__ import annotations

import copy
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from model.checkpoint.native import manifest_path, read_header, save_networks
from model.data.images import UInt8, to_uint8
from model.data.lmdb import LmdbImages
from model.errors import BudgetError, CorruptInputError, UsageError
from model.files import atomic_write_text
from model.finetune.technique import Technique, styled_ws
from model.metrics.extractors.base import FeatureExtractor
from model.metrics.features import StyleFeatures
from model.metrics.kid import kid
from model.metrics.memorisation import nearest, nn_ratio
from model.networks.generator import Generator
from model.training.randomness import latents
from model.training.trainer import Trainer
from pipeline.params import read_section
from pipeline.tracking import Run

FOLDER = "snapshots"
BATCH = 64  # images generated at once
FEWEST = 4  # images on a side: below, KID has no standard error
W_AVG_CODES = 10_000  # z that the mean w is taken over

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnapshotParams:
    """Section ``snapshots``: when the averaged generator is kept and judged, and which one is published."""

    kimg: float  # thousands of images between snapshots; one more is taken at the end
    images: int  # generated to judge each one
    keep: Literal["best", "last"]  # what generator.safetensors is; best = lowest KID on held-out images
    stop_below: float  # a snapshot with a smaller nn_ratio memorises and cannot be the best; 0 = none does
    patience: int  # memorising snapshots in a row that end the training

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name, low in (("kimg", 1e-12), ("images", FEWEST), ("stop_below", 0), ("patience", 1)):
            if not getattr(self, name) >= low:
                least = "more than 0" if name == "kimg" else f"at least {low}"
                raise UsageError(f"snapshots.{name}: found {getattr(self, name)}, expected {least}")


@dataclass(frozen=True)
class Snapshot:
    """One snapshot in numbers: a row of snapshots.csv."""

    kimg: float  # thousands of images seen
    kid: float  # to the held-out images
    kid_std: float
    nn_ratio: float  # distance to the nearest training image, over that of held-out images


class Judge:
    """Training and held-out images as features, taken once, and what generated images score beside them."""

    def __init__(self, lmdb: Path, train: UInt8, heldout: UInt8, extractor: FeatureExtractor) -> None:
        """Take the features of real images ``[N, H, W, 3]`` of the folder ``lmdb``.

        Raises: BudgetError for too few held-out images; CorruptInputError if they were trained on.
        """
        if len(heldout) < FEWEST:
            raise BudgetError(
                f"{lmdb}: {len(heldout)} held-out images, snapshots are judged on at least {FEWEST}; "
                "raise lmdb.min_heldout, or collect more images"
            )
        self.extractor = extractor
        self.train, self.heldout = (extractor(images).astype(np.float64) for images in (train, heldout))
        if nearest(self.heldout, self.train) == 0.0:
            raise CorruptInputError(
                f"{lmdb}: most held-out images are copies of training images, so neither fit nor memorisation can be "
                "measured on them; remove duplicates from the dataset and pack it again"
            )

    def __call__(self, kimg: float, images: UInt8) -> Snapshot:
        """Judge what a snapshot drew, ``[N, H, W, 3]``; nn_ratio is the one of the stage evaluate."""
        features = self.extractor(images).astype(np.float64)
        distance = kid(features, self.heldout)
        ratio = nn_ratio(features, self.train, self.heldout)
        return Snapshot(kimg, distance.value, distance.std, ratio)


class Snapshots:
    """The snapshots of one training: files in ``folder``, one row of numbers each.

    The rows belong to the training's saved state; files come back bit for bit when a resumed run takes them again.
    """

    def __init__(
        self, settings: SnapshotParams, judge: Judge, total: float, folder: Path, provenance: Mapping[str, Any]
    ) -> None:
        """Take none yet of a training of ``total`` kimg; ``provenance`` goes into every file."""
        self.settings, self.judge, self.total, self.folder = settings, judge, total, folder
        self.provenance = dict(provenance)
        self.rows: list[Snapshot] = []

    def state(self) -> list[dict[str, float]]:
        """Return what :meth:`restore` needs, as JSON."""
        return [asdict(row) for row in self.rows]

    def restore(self, state: Sequence[Mapping[str, float]]) -> None:
        """Go back to the snapshots of a saved state; later ones are deleted, they will be taken again.

        Raises: MissingInputError or CorruptInputError naming a file that is gone or was edited.
        """
        self.rows = [Snapshot(**row) for row in state]
        known = {self.folder / file_name(row.kimg) for row in self.rows}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in known:
                manifest_path(path).unlink(missing_ok=True)
                path.unlink()
        for path in sorted(known):
            read_header(path)

    def due(self, trainer: Trainer) -> bool:
        """Whether to take one now: at the tick nearest to each multiple of the interval, and at the end.

        A multiple less than half an interval before the end is left to the end.
        """
        every, half_tick = self.settings.kimg, trainer.config.tick_kimg / 2
        if trainer.kimg >= self.total:
            return True
        taken = self.rows[-1].kimg if self.rows else 0.0
        wanted = (math.floor((taken + half_tick) / every + 1e-9) + 1) * every
        return trainer.kimg + half_tick >= wanted and wanted <= self.total - every / 2

    def take(self, trainer: Trainer, run: Run | None) -> None:
        """Write the averaged generator to the folder, judge it and note the row."""
        generator, kimg = settled(trainer), trainer.kimg
        save_networks(self.folder / file_name(kimg), generator=generator, provenance={**self.provenance, "kimg": kimg})
        z = latents(trainer.seed, "snapshots", 0, self.settings.images, generator.config.z_dim).to(trainer.device)
        row = self.judge(kimg, _draw(generator, trainer.nets.source, trainer.techniques, z))
        self.rows.append(row)
        numbers = {f"snapshot_{name}": value for name, value in asdict(row).items() if name != "kimg"}
        if run is not None:
            run.log_metrics(numbers, step_kimg=kimg)
        log.info("snapshot at %s", _words(row))
        if self.stopped:
            log.warning("the training ends: %s", self.stopped)

    @property
    def stopped(self) -> str:
        """Why the training ends before its time; empty if it goes on."""
        patience, limit = self.settings.patience, self.settings.stop_below
        last = self.rows[-patience:]
        full = len(last) == patience and all(self._memorises(row) for row in last)
        if not full or last[-1].kimg >= self.total:  # nothing is cut short at the end
            return ""
        ratios = ", ".join(f"{row.nn_ratio:.2f}" for row in last)
        return f"memorisation at {last[-1].kimg:g} kimg: nn_ratio {ratios} in {patience} in a row, below {limit:g}"

    @property
    def best(self) -> Snapshot:
        """The lowest KID among those that do not memorise; if all do, the one that memorises least."""
        sound = [row for row in self.rows if not self._memorises(row)]
        return min(sound, key=lambda row: row.kid) if sound else max(self.rows, key=lambda row: row.nn_ratio)

    @property
    def kept(self) -> Snapshot:
        """The one that is published as the generator."""
        return self.best if self.settings.keep == "best" else self.rows[-1]

    def details(self) -> dict[str, Any]:
        """Return what a manifest says: which snapshots there are, which one was kept and why."""
        return {
            "snapshots": [{"kimg": row.kimg, "file": f"{FOLDER}/{file_name(row.kimg)}"} for row in self.rows],
            "kept": {"kimg": self.kept.kimg, "why": self._why()},
            "best": self.best.kimg,
            "last": self.rows[-1].kimg,
            "stopped": self.stopped,
            "discriminator_kimg": self.rows[-1].kimg,
        }

    def publish(self, folder: Path) -> None:
        """Write every snapshot, their table and the kept one (as ``generator.safetensors``) to ``folder``."""
        (folder / FOLDER).mkdir()
        for row in self.rows:
            path = self.folder / file_name(row.kimg)
            _copy(path, folder / FOLDER / path.name)
        _copy(self.folder / file_name(self.kept.kimg), folder / "generator.safetensors")
        atomic_write_text(folder / "snapshots.csv", self.table().to_csv(index=False, float_format="%.6g"))

    def table(self) -> pd.DataFrame:
        """Return one row per snapshot, with the extractor and what became of it (``marks``)."""
        marks = [" ".join(self._marks(row)) for row in self.rows]
        return pd.DataFrame(self.state()).assign(extractor=self.judge.extractor.name, marks=marks)

    def record(self, run: Run, out: Path) -> None:
        """Tell the tracking run which snapshot was kept, why, and whether the training was ended early."""
        details = self.details()
        run.set_tags({"kept_kimg": details["kept"]["kimg"], "kept_why": details["kept"]["why"]})
        run.set_tags({"stopped": self.stopped} if self.stopped else {})
        run.log_artifact(out / "snapshots.csv")

    def _memorises(self, row: Snapshot) -> bool:
        return row.nn_ratio < self.settings.stop_below

    def _marks(self, row: Snapshot) -> list[str]:
        last = row is self.rows[-1]
        marks = {
            "kept": row is self.kept, "best": row is self.best, "last": last, "memorises": self._memorises(row),
            "stopped": last and bool(self.stopped),
        }  # fmt: skip
        return [name for name, holds in marks.items() if holds]

    def _why(self) -> str:
        memorising = sum(self._memorises(row) for row in self.rows)
        if self.settings.keep == "last":
            return "the last, as snapshots.keep says"
        if memorising == len(self.rows):
            return f"every snapshot memorises (nn_ratio below {self.settings.stop_below:g}); this one least"
        left_out = f", {memorising} left out because they memorise" if memorising else ""
        return f"lowest KID on held-out images of {len(self.rows)} snapshots{left_out}"


class Judging:
    """What snapshots are judged with, by section ``snapshots``; null there turns them off.

    Raises: MissingInputError naming the command, at once, if the extractor's weights are not there.
    """

    def __init__(self, params: Path) -> None:
        self.settings = read_section(params, "snapshots", cast(type[SnapshotParams], SnapshotParams | None))
        self.extractor = None if self.settings is None else StyleFeatures()

    def open(self, lmdb: Path, resolution: int) -> dict[str, Any]:
        """Open the held-out images; return what a continued training must share with its beginning."""
        self.lmdb = lmdb
        if self.settings is None or self.extractor is None:
            return {"snapshots": None}
        self.heldout = LmdbImages(lmdb / "heldout", resolution)
        return {"snapshots": asdict(self.settings), "heldout": self.heldout.digest, "extractor": self.extractor.name}

    def snapshots(self, train: UInt8, kimg: float, scratch: Path, made_by: Mapping[str, Any]) -> Snapshots | None:
        """Return what takes the snapshots of a training of ``kimg`` on the images ``train``."""
        if self.settings is None or self.extractor is None:
            return None
        judge = Judge(self.lmdb, train, self.heldout.read_all(), self.extractor)
        return Snapshots(self.settings, judge, kimg, scratch / FOLDER, made_by)


def file_name(kimg: float) -> str:
    """Return the name of a snapshot's file: images shown, eight digits, as sample sheets are named."""
    return f"{round(kimg * 1000):08d}.safetensors"


@torch.no_grad()
def settled(trainer: Trainer) -> Generator:
    """Return a copy of the averaged generator with the mean w of its own mapping network; the training's stays."""
    nets = trainer.nets
    generator = copy.deepcopy(nets.ema)
    if any(parameter.requires_grad for parameter in nets.generator.mapping.parameters()):
        z = latents(trainer.seed, "w_avg", 0, W_AVG_CODES, generator.config.z_dim).to(trainer.device)
        generator.w_avg.copy_(generator.mapping(z).mean(0))
    return generator


@torch.no_grad()
def _draw(generator: Generator, source: Generator | None, techniques: Sequence[Technique], z: Tensor) -> UInt8:
    """Draw ``z [N, z_dim]`` as the method does, ``[N, R, R, 3]``, the same picture of a z every time."""
    noise = generator.synthesis.const_noise()
    batches = [z[start : start + BATCH] for start in range(0, len(z), BATCH)]
    drawn = (generator.synthesis(styled_ws(techniques, generator, source, batch), noise) for batch in batches)
    return np.concatenate([to_uint8(images) for images in drawn])


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target)
    shutil.copyfile(manifest_path(path), manifest_path(target))


def _words(row: Snapshot) -> str:
    kernel = f"KID {1e3 * row.kid:.1f} ± {1e3 * row.kid_std:.1f} (10^-3) on held-out images"
    return f"{row.kimg:g} kimg: {kernel}, nn_ratio {row.nn_ratio:.2f}"
