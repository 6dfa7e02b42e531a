"""A training as a stage runs it: states, statistics, sample sheets, progress and signals around the loop."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from model.checkpoint.native import save_networks
from model.data.images import to_uint8, write_png
from model.data.sheets import sheet
from model.errors import InterruptedRun
from model.files import atomic_write_text, publish_folder
from model.finetune.technique import Technique, styled_ws
from model.progress import Progress
from model.training.randomness import latents
from model.training.state import load_state, save_state
from model.training.trainer import Report, TrainConfig, Trainer
from pipeline.tracking import Run
from stages.snapshots import Snapshots, settled

log = logging.getLogger(__name__)
FACES = 10  # samples side by side on a sheet
COLUMNS = [
    field.name for field in fields(Report) if field.name != "seconds_per_kimg"
]  # of stats.csv: what repeats exactly


@dataclass(frozen=True)
class TrainParams(TrainConfig):
    """Section ``train``: the loop's settings and what is kept on the way."""

    sample_kimg: float  # thousands of images between sample sheets
    state_kimg: float  # thousands of images between saved states
    device: str  # auto, cpu or cuda


def config_of(settings: TrainParams) -> TrainConfig:
    """Return the part of the settings that the loop reads."""
    return TrainConfig(**{field.name: getattr(settings, field.name) for field in fields(TrainConfig)})


def pick_device(name: str) -> torch.device:
    """Return the device to train on; ``auto`` is the GPU when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


class Session:
    """A training with its side effects: states, statistics, sample sheets, progress, signals."""

    def __init__(
        self,
        trainer: Trainer,
        techniques: Sequence[Technique],
        settings: TrainParams,
        identity: dict[str, Any],
        scratch: Path,
        snapshots: Snapshots | None,
    ) -> None:
        """Continue from the state in ``scratch`` if there is one; without ``snapshots`` only the end is kept."""
        self.trainer, self.techniques, self.settings, self.identity, self.scratch = (
            trainer,
            techniques,
            settings,
            identity,
            scratch,
        )
        self.snapshots = snapshots
        self.rows: list[dict[str, float]] = []
        config = trainer.nets.ema.config
        self.z = latents(trainer.seed, "samples", 0, 2 * FACES, config.z_dim).to(trainer.device)
        saved = load_state(scratch, trainer, identity)
        if snapshots is not None:
            snapshots.restore(saved["snapshots"] if saved is not None else [])
        if saved is not None:
            self.rows = saved["rows"]
            log.info("continuing at %.1f kimg from %s", trainer.kimg, scratch)

    def train(self, run: Run) -> None:
        """Run to the end; on SIGTERM or Ctrl-C finish the batch, save, and raise InterruptedRun."""
        trainer, settings = self.trainer, self.settings
        before = {s: signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            with Progress("train", total=settings.kimg, unit="kimg") as progress:
                progress.update(trainer.kimg)
                if not self.rows:
                    self._sample(run, 0.0)
                last_saved = last_sample = done = trainer.kimg
                for report in () if self._stopped else trainer:
                    self._record(report, run)
                    progress.update(report.kimg - done)
                    progress.note = f"D {report.d_loss:.2f}  G {report.g_loss:.2f}  p {report.ada_p:.2f}"
                    done = report.kimg
                    self._snapshot(run)
                    last = self._stopped or report.kimg >= settings.kimg
                    if report.kimg - last_sample >= settings.sample_kimg or last:
                        self._sample(run, report.kimg)
                        last_sample = report.kimg
                    if report.kimg - last_saved >= settings.state_kimg:
                        self._save()
                        last_saved = report.kimg
                    if self._stopped:
                        break
            if trainer.stop and not self._stopped:
                self._save()
                raise InterruptedRun(
                    f"{self.scratch}: stopped at {trainer.kimg:.1f} of {settings.kimg} kimg; "
                    "run the same command to continue"
                )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.trainer.stop = True

    @property
    def _stopped(self) -> bool:
        return self.snapshots is not None and bool(self.snapshots.stopped)

    def _snapshot(self, run: Run) -> None:
        if self.snapshots is not None and self.snapshots.due(self.trainer):
            self.snapshots.take(self.trainer, self.techniques, run)

    def _save(self) -> None:
        taken = self.snapshots.state() if self.snapshots is not None else []
        save_state(self.scratch, self.trainer, self.identity, {"rows": self.rows, "snapshots": taken})

    def _record(self, report: Report, run: Run) -> None:
        row = {name: value for name, value in asdict(report).items() if name != "seconds_per_kimg"}
        self.rows.append(row)
        run.log_metrics(
            {name: value for name, value in asdict(report).items() if name != "kimg"}, step_kimg=report.kimg
        )

    @torch.no_grad()
    def _sample(self, run: Run, kimg: float) -> None:
        """Write the sheet of fixed z: the source above, the averaged generator below."""
        nets = self.trainer.nets
        rows, labels = [], []
        ws = styled_ws(self.techniques, nets.ema, nets.source, self.z)
        mine = to_uint8(nets.ema.synthesis(ws, nets.ema.synthesis.const_noise()))
        theirs = mine
        if nets.source is not None:
            theirs = to_uint8(
                nets.source.synthesis(
                    nets.source.broadcast(nets.source.mapping(self.z)), nets.source.synthesis.const_noise()
                )
            )
        for start in (0, FACES):
            if nets.source is not None:
                rows.append(list(theirs[start : start + FACES]))
                labels.append("source")
            rows.append(list(mine[start : start + FACES]))
            labels.append(f"{kimg:.0f} kimg")
        picture = sheet(rows, labels, [], "", scale=max(1, 128 // nets.ema.config.resolution))
        path = self.scratch / "samples" / f"{round(kimg * 1000):08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, picture)
        run.log_image("samples", path, step_kimg=kimg)


def publish(session: Session, out: Path, details: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Write the kept generator and all snapshots, the discriminator, statistics and sample sheets to ``out``.

    Without snapshots the generator is the average at the end.
    """
    trainer, snapshots = session.trainer, session.snapshots
    with publish_folder(out, details | (snapshots.details() if snapshots is not None else {})) as folder:
        if snapshots is not None:
            snapshots.publish(folder)
        else:
            save_networks(folder / "generator.safetensors", generator=settled(trainer), provenance=provenance)
        judge = trainer.nets.discriminator
        save_networks(folder / "discriminator.safetensors", discriminator=judge, provenance=provenance)
        atomic_write_text(
            folder / "stats.csv", pd.DataFrame(session.rows, columns=COLUMNS).to_csv(index=False, float_format="%.6g")
        )
        shutil.copytree(session.scratch / "samples", folder / "samples")
