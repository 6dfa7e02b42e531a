"""``Run``: what a stage records about itself. Files first, MLflow as their mirror.

A stage only appends to a journal on disk, which takes microseconds. A helper process (``pipeline.publish``), one per
project and started here, copies journals to MLflow while stages run, so that no stage pays MLflow's five seconds of
import and set-up, and a slow, locked or dead tracking server can neither stop nor slow a stage.
``CARTOON_TRACKING=journal`` keeps the helper from starting; ``cartoon-pipeline republish`` sends what is missing.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.journal import Journal, last_entry, tracking_folder
from pipeline.journal import mask as mask
from pipeline.params import forget_sections, read_params, sections_read
from pipeline.provenance import deps_digest, flatten, git_state, grid_tags
from pipeline.telemetry import silence as silence  # stages reach it through this module

Status = Literal["FINISHED", "FAILED", "KILLED"]

HEALTH = "health.jsonl"  # appended by the publisher: did the server answer last time?

log = logging.getLogger("tracking")


class Run:
    """The record of one executed stage.

    Steps are given in kimg (thousands of real images shown) and stored as whole images, because MLflow's steps are
    integers: 12.5 kimg is step 12500. A series over something else (swap levels in px) gives whole ``step``s instead;
    a key holds one kind of step.
    """

    def __init__(self, folder: Path, tags: Mapping[str, str] | None = None) -> None:
        """Start a journal in a new folder; ``Run.open`` is what a stage process uses."""
        self._journal = Journal(folder)
        self._flags: Mapping[str, Any] = {}
        self._params: dict[str, str] = {}
        self._warned = False
        self._health = folder / "none"
        self._started = time.time()
        self._journal.append("begin", id=folder.name, tags=dict(tags or {}))

    @classmethod
    def open(cls, stage: str, flags: Mapping[str, Any]) -> Run:
        """Start the record of a stage process.

        Args:
            stage: DVC's name of the stage, ``train@freeze_sg-flat-s0``.
            flags: the stage's arguments; ``params`` is the params file, other paths are digested as inputs.
        """
        params = read_params(Path(flags["params"])) if "params" in flags else {}
        profile = str(params.get("profile", "default"))
        home = tracking_folder(Path.cwd())
        folder = home / profile / stage.replace("/", "_") / f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
        tags = {"dvc.stage": stage, "stage": stage.partition("@")[0], "profile": profile}
        tags |= git_state(Path.cwd()) | grid_tags(stage, params, flags)
        forget_sections()
        run = cls(folder, {key: mask(value) for key, value in tags.items()})
        run._flags = {"stage": stage, **flags}
        run._health = home / HEALTH
        if os.environ.get("CARTOON_TRACKING", "live") != "journal":
            _start_publisher(Path.cwd())
        return run

    @property
    def folder(self) -> Path:
        """Where this run's journal and copies are."""
        return self._journal.folder

    def log_metrics(self, values: Mapping[str, float], step_kimg: float = 0.0, step: int | None = None) -> None:
        """Record numbers at a point of training (0 for a stage that does not train), or at a ``step`` of another kind.

        MLflow keeps one point per key and step: the first one recorded.
        """
        at = _step(step_kimg, step)
        self._journal.append("metrics", step=at, values={k: float(v) for k, v in values.items()})
        self._warn_once()

    def log_image(self, key: str, image: Any, step_kimg: float = 0.0, step: int | None = None) -> None:
        """Record a picture; pictures of one key get a step slider in MLflow.

        Args:
            key: name of the series, ``samples``.
            image: a path, or a uint8 array ``[H, W, 3]`` (RGB) or ``[H, W]``.
            step_kimg: thousands of images seen.
            step: instead of kimg, a whole number that the slider runs over: a swap level in px.

        Raises: ValueError if both kinds of step are given; TypeError for anything that is no picture.
        """
        at = _step(step_kimg, step)
        name = f"images/{_file(key)}-{at}.png"
        if not (self.folder / name).exists():  # of a key and step, the first is kept, as with numbers
            _save_png(image, self.folder / name)
        self._journal.append("image", key=key, step=at, file=name)

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Record a copy of a file or folder, under ``folder`` among the run's artifacts."""
        name = "/".join(part for part in ("files", folder, path.name) if part)
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(path, target)
        self._journal.append("artifact", file=name, folder=folder)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record a table; ``name`` ends up as ``<name>.json`` in MLflow's table viewer."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        self._journal.append("table", name=name, columns=columns, rows=[[row.get(c) for c in columns] for row in rows])

    def log_dataset(
        self, name: str, digest: str, source: str, shape: Sequence[int], profile: Mapping[str, Any], context: str
    ) -> None:
        """Record images that this run reads or makes; MLflow lists them as a dataset of the run.

        Args:
            name: of the dataset.
            digest: of its content, hexadecimal; MLflow keeps the first 36 characters.
            source: a path or an address.
            shape: of its uint8 images, -1 for any number.
            profile: what else there is to know in a few numbers.
            context: what the run does with it: ``build``, ``training``, ``evaluation``.
        """
        entry = {"name": name, "digest": digest, "source": mask(source), "shape": list(shape), "context": context}
        self._journal.append("dataset", **entry, profile=dict(profile))

    def log_cell(
        self,
        name: str,
        tags: Mapping[str, object],
        metrics: Mapping[str, float],
        images: Mapping[str, Any] | None = None,
    ) -> None:
        """Record one cell of a comparison as a child run of its own, so that MLflow can filter, sort and plot it.

        Args:
            name: of the child run, unlike any other of this run: ``freeze_g flat s0 weights 16``.
            tags: where the cell stands, and its gates; the tags of this run are inherited, ``stage`` is ``cell`` unless
                given, ``parent_stage`` the stage of this run, ``colour`` (#rrggbb) that of its points in charts.
            metrics: its numbers; NaN and infinite ones are left out, for MLflow would sort them among the good ones.
            images: key -> picture, as for ``log_image``, or a series of them: key -> {step: picture}.
        """
        values = {key: float(value) for key, value in metrics.items()}
        pictures = []
        for key, image in (images or {}).items():
            for step, picture in image.items() if isinstance(image, Mapping) else [(0, image)]:
                file = f"images/cell~{_file(name)}~{_file(key)}-{step}.png"
                _save_png(picture, self.folder / file)
                pictures.append({"key": key, "step": int(step), "file": file})
        shown = {key: mask(str(value)) for key, value in tags.items()}
        self._journal.append("cell", name=name, tags=shown, values=values, images=pictures)

    def log_view(
        self, name: str, where: str, sort: str, columns: Sequence[str], charts: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record a way to look at runs; MLflow lists it under "Views", and the newest one of a name stays.

        Args:
            name: of the view.
            where: which runs, as MLflow's filters say it (its metrics' names have dots for brackets).
            sort: ``tags.method`` or ``metrics.kid[style]``.
            columns: of the table, written like ``sort``.
            charts: each of a kind with keys: ``{"kind": "scatter", "keys": [x, y]}``, ``parallel`` (two or more
                metrics), ``curves`` (metrics over steps), ``images`` (keys of pictures, ``step`` to begin with).
        """
        chosen = {"where": where, "sort": sort, "columns": list(columns), "charts": [dict(chart) for chart in charts]}
        self._journal.append("view", name=name, **chosen)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Record settings, flattened with dots.

        Sections read from params.yaml are recorded without being asked (``train.kimg``), except for settings that the
        stage recorded itself (``kimg``) with the same value.
        """
        flat = {key: mask(value) for key, value in flatten(values).items()}
        new = {key: value for key, value in flat.items() if self._params.get(key.rpartition(".")[2]) != value}
        self._params |= new
        self._journal.append("params", values=new)

    def set_tags(self, values: Mapping[str, object]) -> None:
        """Record or replace tags."""
        self._journal.append("tags", values={key: mask(str(value)) for key, value in values.items()})

    def close(self, status: Status = "FINISHED", error: BaseException | None = None) -> None:
        """End the record: settings used, digest of what it was made from, how it ended."""
        used = sections_read() if self._flags else {}
        if used:
            self.log_params(used)
        if self._flags:
            self.set_tags({"dvc.deps_digest": deps_digest(self._flags, used)})
        if error is not None:
            self.set_tags({"error": f"{type(error).__name__}: {error}"[:1000]})
        self._journal.append("end", status=status)
        self._journal.close()
        self._warn_once()

    def _warn_once(self) -> None:
        """Pass on, once, what the publisher found out about the server."""
        if self._warned:
            return
        try:
            if self._health.stat().st_mtime < self._started:
                return
            health = last_entry(self._health)
        except OSError:
            return
        if health.get("ok", True):
            return
        self._warned = True
        log.warning(
            "MLflow at %s does not answer (%s); the run goes on and keeps its records in %s; "
            "`cartoon-pipeline republish` sends them later",
            health.get("uri"), health.get("error"), self.folder,
        )  # fmt: skip


def _step(kimg: float, step: int | None) -> int:
    if step is None:
        return round(kimg * 1000)
    if kimg:
        raise ValueError(f"a point has one step: found {kimg} kimg and step {step}")
    return int(step)


def _file(name: str) -> str:
    return name.replace("/", "~")


def _save_png(image: Any, target: Path) -> None:
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, (str, Path)):
        if Path(image).suffix.lower() == ".png":
            shutil.copyfile(image, target)
            return
        with Image.open(image) as opened:
            opened.convert("RGB").save(target)
        return
    if str(getattr(image, "dtype", "")) != "uint8":
        raise TypeError(f"images are logged as paths or uint8 arrays [H, W, 3], not {type(image).__name__}")
    Image.fromarray(image).save(target)


def _start_publisher(root: Path) -> None:
    """Start the helper; it leaves at once if one is already at work in this project."""
    command = [sys.executable, "-m", "pipeline.publish", "--root", str(root)]
    try:
        with (tracking_folder(root) / "publisher.log").open("ab") as output:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    except OSError as error:
        log.warning("MLflow is not updated (%s); `cartoon-pipeline republish` sends the records later", error)
