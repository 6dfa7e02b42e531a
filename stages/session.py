"""A training as a stage runs it: states, statistics, sample sheets, progress, signals and second chances."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from model.checkpoint.native import save_networks
from model.data.images import to_uint8, write_png
from model.data.sheets import sheet
from model.errors import DivergenceError, InterruptedRun, ResourceError, UsageError
from model.files import atomic_write_text, publish_folder
from model.finetune.technique import styled_ws
from model.progress import Progress
from model.training.config import Report, TrainConfig
from model.training.randomness import latents
from model.training.state import load_state, save_state
from model.training.trainer import Trainer
from pipeline.tracking import Run
from stages.leaving import on_signal
from stages.snapshots import Snapshots, settled

log = logging.getLogger(__name__)
FACES = 10  # samples side by side on a sheet
ROLLBACKS = 3  # times that a training which diverges goes back before it gives up
COLUMNS = [
    field.name for field in fields(Report) if field.name != "seconds_per_kimg"
]  # of stats.csv: what repeats exactly
# Settings that may change between two parts of a training; results stay the same, or the same but for rounding.
FREE = frozenset({"kimg", "sample_kimg", "state_kimg", "device", "gpus", "accumulate"})


@dataclass(frozen=True)
class TrainParams(TrainConfig):
    """Section ``train``: the loop's settings and what is kept on the way."""

    sample_kimg: float  # thousands of images between sample sheets
    state_kimg: float  # thousands of images between saved states
    device: str  # auto, cpu or cuda
    gpus: int | Literal["all"]  # processes that share every batch, one per GPU
    accumulate: int | Literal["auto"]  # parts in which a process takes its share; auto = as many as the memory needs
    precision: Literal["fp32", "bf16"]  # of features; parameters and sums stay fp32

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        super().__post_init__()
        for name, word in (("gpus", "all"), ("accumulate", "auto")):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise UsageError(f"train.{name}: found {value}, expected 1 or more, or {word}")


def config_of(settings: TrainParams) -> TrainConfig:
    """Return the part of the settings that the loop reads."""
    return TrainConfig(**{field.name: getattr(settings, field.name) for field in fields(TrainConfig)})


def lasting(settings: TrainParams) -> dict[str, Any]:
    """Return the settings that a continued training must share with its beginning."""
    return {name: value for name, value in asdict(settings).items() if name not in FREE}


class Session:
    """A training with its side effects; in all but the first process of several, it only computes.

    Args:
        trainer: the loop.
        settings: section ``train``.
        identity: what the training is; a saved state of another one is refused.
        scratch: where states and samples are kept.
        run: the record to write to; None keeps none.
        snapshots: taken on the way, by the first process; None keeps only the end.
    """

    def __init__(
        self, trainer: Trainer, settings: TrainParams, identity: dict[str, Any], scratch: Path, run: Run | None,
        snapshots: Snapshots | None,
    ) -> None:  # fmt: skip
        self.trainer, self.settings, self.identity, self.scratch, self.run = trainer, settings, identity, scratch, run
        self.first, self.snapshots = trainer.world.rank == 0, snapshots
        self.rows: list[dict[str, float]] = []
        if settings.accumulate != "auto":
            trainer.take_in_parts(settings.accumulate)
        config = trainer.nets.ema.config
        self.z = latents(trainer.seed, "samples", 0, 2 * FACES, config.z_dim).to(trainer.device)
        if self._load():
            log.info("continuing at %.1f kimg from %s", trainer.kimg, scratch)

    def train(self) -> None:
        """Run to the end; on SIGTERM or Ctrl-C finish the batch, save, and raise InterruptedRun.

        Raises: DivergenceError when going back three times did not help; ResourceError when the memory does not do.
        """
        trainer, settings = self.trainer, self.settings
        with on_signal(self._stop, self._close), Progress("train", total=settings.kimg, unit="kimg") as progress:
            progress.resume_at(trainer.kimg)
            self._finish(progress)
            unfinished = trainer.iteration < trainer.total_iterations
            if unfinished and not trainer.world.any(self._ended_early, trainer.device):
                self._save()
                raise InterruptedRun(
                    f"{self.scratch}: stopped at {trainer.kimg:.1f} of {settings.kimg} kimg; "
                    "run the same command to continue"
                )

    def _finish(self, progress: Progress) -> None:
        """Train until it is done or stopped, going back to the last state where that helps."""
        while True:
            try:
                return self._go_on(progress)
            except DivergenceError as error:
                self._go_back(error)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self._split(error)
            progress.update(self.trainer.kimg - progress.done)

    def _go_on(self, progress: Progress) -> None:
        trainer, settings = self.trainer, self.settings
        if trainer.iteration == 0:
            self._save()  # a state to go back to, and a disk that is full says so now
            self._sample(0.0)
        saved, sampled = trainer.kimg, self._last_sample()
        trainer.stop = trainer.stop or self._ended_early
        for report in trainer:
            self._record(report)
            progress.note = f"D {report.d_loss:.2f}  G {report.g_loss:.2f}  p {report.ada_p:.2f}"
            progress.update(report.kimg - progress.done)
            self._snapshot()
            last = self._ended_early or report.kimg >= settings.kimg
            if _due(report.kimg, sampled, settings.sample_kimg) or last:
                self._sample(report.kimg)
                sampled = report.kimg
            if _due(report.kimg, saved, settings.state_kimg):
                self._save()
                saved = report.kimg

    def _go_back(self, error: DivergenceError) -> None:
        """Return to the last state, whose numbers are all finite, and try another way from there."""
        rollbacks = self.trainer.rollbacks + 1
        if rollbacks > ROLLBACKS:
            raise DivergenceError(f"{error}; going back {ROLLBACKS} times did not help") from error
        self._restore()
        self.trainer.go_back(rollbacks)
        log.warning("%s; back to %.1f kimg, attempt %d of %d: other draws, half the learning rate for a while",
                    error, self.trainer.kimg, rollbacks, ROLLBACKS)  # fmt: skip

    def _split(self, error: BaseException) -> None:
        """Take batches in twice as many parts, if the settings allow it."""
        trainer, parts = self.trainer, 2 * self.trainer.accumulate
        config = trainer.config
        message = (
            f"out of memory at train.batch {config.batch} in {trainer.accumulate} part(s) on {trainer.world.size} "
            f"process(es), {trainer.nets.generator.config.resolution} px: {str(error).splitlines()[0][:200]}"
        )
        remedy = f"set train.accumulate: {parts}, which changes results only by rounding, or lower train.batch"
        if self.settings.accumulate != "auto" or trainer.world.size > 1:
            raise ResourceError(f"{message}; {remedy}") from error
        try:
            trainer.take_in_parts(parts)
        except UsageError as impossible:
            raise ResourceError(f"{message}; it cannot be split further, lower train.batch") from impossible
        self._restore()
        log.warning("%s; going on from %.1f kimg with train.accumulate: %d (results differ by rounding)",
                    message, trainer.kimg, parts)  # fmt: skip

    def _restore(self) -> None:
        if not self._load():
            raise ResourceError(f"{self.scratch}: no saved state to go back to; start again")

    def _load(self) -> bool:
        """Load the newest state, if there is one."""
        saved = load_state(self.scratch, self.trainer, self.identity)
        if self.snapshots is not None:
            self.snapshots.restore(saved["snapshots"] if saved is not None else [])
        self.rows = saved["rows"] if saved is not None else []
        return saved is not None

    @property
    def _ended_early(self) -> bool:
        return self.snapshots is not None and bool(self.snapshots.stopped)

    def _snapshot(self) -> None:
        if self.snapshots is not None and self.snapshots.due(self.trainer):
            self.snapshots.take(self.trainer, self.run)
            self.trainer.stop = self.trainer.stop or self._ended_early

    def _stop(self) -> None:
        self.trainer.stop = True

    def _close(self) -> None:
        if self.run is not None:
            self.run.close("KILLED")

    def _save(self) -> None:
        taken = self.snapshots.state() if self.snapshots is not None else []
        save_state(self.scratch, self.trainer, self.identity, {"rows": self.rows, "snapshots": taken})

    def _last_sample(self) -> float:
        """Return when, in kimg, a run that was never interrupted would have sampled last: the same sheets follow."""
        last = 0.0
        for row in self.rows:
            if _due(row["kimg"], last, self.settings.sample_kimg):
                last = row["kimg"]
        return last

    def _record(self, report: Report) -> None:
        values = asdict(report)
        self.rows.append({name: value for name, value in values.items() if name != "seconds_per_kimg"})
        if self.run is not None:
            self.run.log_metrics({n: v for n, v in values.items() if n != "kimg"}, step_kimg=report.kimg)

    @torch.no_grad()
    def _sample(self, kimg: float) -> None:
        """Write the sheet of fixed z: the source above, the averaged generator below."""
        if not self.first:
            return
        nets = self.trainer.nets
        rows, labels = [], []
        ws = styled_ws(self.trainer.techniques, nets.ema, nets.source, self.z)
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
        if self.run is not None:
            self.run.log_image("samples", path, step_kimg=kimg)


def _due(kimg: float, last: float, every: float) -> bool:
    """Compare in whole images: as floats, 0.076 - 0.068 is less than 0.008."""
    return round((kimg - last) * 1000) >= round(every * 1000)


def _out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: a GPU's, Python's, or (a RuntimeError like any other) the CPU's."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


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
        (folder / "samples").mkdir()
        for sheet_file in session.scratch.glob("samples/[0-9]*.png"):  # not what a kill left half-written
            shutil.copy(sheet_file, folder / "samples")
