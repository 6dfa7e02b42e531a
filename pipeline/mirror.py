"""MLflow's copy of the journals: numbers, pictures, tables and cells, each sent so that repeating is harmless.

MLflow keeps both points of a key and step that it is told twice, so a run that was there before is asked what it has,
and gets only what is missing. Everything else lies under a name that repeats.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.journal import Entry, mask
from pipeline.runs import JOURNAL_ID, PARENT, STAGE, find_or_create, settle
from pipeline.views import TAG, stored_name, view, view_id

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

_BATCH = 900  # MLflow takes 1000 metrics a call
_SMALL_BATCH = 90  # and 100 params or tags
_DIGEST = 36  # characters that it keeps of a dataset's digest
_SMALL = "+compressed.webp"  # how MLflow names the thumbnail of a picture
_THUMBNAIL = 1024  # px, what the UI shows before one clicks: a sheet of faces must be readable in it
_TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens its views for chat bots
_NAMESPACE = uuid.UUID("6b1f8a3e-3d5c-4d0f-9b0e-5a2f6c7d8e90")  # any fixed one: names of files follow from content


def tracking_uri(root: Path) -> str:
    """Where records go: MLFLOW_TRACKING_URI, or a SQLite file in the project."""
    return mask(store_address(root))


def store_address(root: Path) -> str:
    """The address with its password, for connecting only."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlruns' / 'mlflow.db').resolve()}"


def is_server(address: str) -> bool:
    """Whether an address names an MLflow server (else: a database)."""
    return address.startswith(("http://", "https://"))


class MlflowMirror:
    """A connection to one MLflow store."""

    def __init__(self, root: Path) -> None:
        """Open the store; creates and migrates the project's own SQLite file (hold the publisher's lock)."""
        from mlflow.tracking import MlflowClient

        (root / "mlruns").mkdir(exist_ok=True)
        self.uri = tracking_uri(root)
        self._root = root.resolve()
        self._client = MlflowClient(store_address(root))
        self._experiments: dict[str, str] = {}
        self._stored: dict[str, _Stored] = {}  # by run id

    def begin(self, profile: str, entry: Entry) -> str:
        """Find or create the run whose journal starts with ``entry``; returns its MLflow id."""
        tags = dict(entry["tags"])
        name = str(tags.get("dvc.stage", entry["id"]))
        tags[JOURNAL_ID] = entry["id"]
        run = find_or_create(self._client, self._experiment(profile), name, entry["time"], tags)
        settle(self._client, run)
        return str(run.info.run_id)

    def send(self, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
        """Send entries in order, runs of metrics as one call; what the store has already is left out."""
        self._stored[run_id] = self._stored.get(run_id) or _Stored(self._client, self._client.get_run(run_id))
        try:
            for kind, group in groupby(entries, key=lambda entry: str(entry["kind"])):
                if kind == "metrics":
                    self._metrics(run_id, list(group))
                    continue
                for entry in group:
                    self._one(run_id, folder, entry)
        except BaseException:
            del self._stored[run_id]  # how far it came is for the store to say
            raise

    def _one(self, run_id: str, folder: Path, entry: Entry) -> None:
        match entry["kind"]:
            case "image":
                self._image(run_id, folder / entry["file"], entry)
            case "artifact":
                place = entry["folder"] or None
                self._client.log_artifact(run_id, str(folder / entry["file"]), place)
            case "table":
                self._table(run_id, entry)
            case "dataset":
                self._dataset(run_id, entry)
            case "cell":
                self._cell(run_id, folder, entry)
            case "view":
                self._view(self._client.get_run(run_id).info.experiment_id, entry)
            case "params":
                self._params(run_id, entry["values"])
            case "tags":
                self._tags(run_id, entry["values"])
            case "end":
                self._client.set_terminated(run_id, entry["status"], entry["time"])
                settle(self._client, self._client.get_run(run_id))

    def _experiment(self, profile: str) -> str:
        if profile not in self._experiments:
            found = self._client.get_experiment_by_name(profile)
            if found is None:
                made = self._client.create_experiment(profile, self._artifacts(profile), tags=_TRAINING_VIEW)
                self._experiments[profile] = made
            else:
                if found.lifecycle_stage == "deleted":
                    self._client.restore_experiment(found.experiment_id)
                self._experiments[profile] = found.experiment_id
        return self._experiments[profile]

    def _artifacts(self, profile: str) -> str | None:
        """Artifacts lie beside the store unless a server keeps them; left alone, they land in the current folder."""
        if is_server(store_address(self._root)):
            return None
        return (self._root / "mlruns" / "artifacts" / profile).as_uri()

    def _metrics(self, run_id: str, entries: Sequence[Entry]) -> None:
        new = [metric for metric in _as_metrics(entries) if not self._stored[run_id].has_point(metric.key, metric.step)]
        for batch in _chunks(new, _BATCH):
            self._client.log_batch(run_id, metrics=batch)

    def _params(self, run_id: str, values: Mapping[str, str]) -> None:
        """MLflow refuses to change a setting: the first value stays."""
        from mlflow.entities import Param

        have = self._client.get_run(run_id).data.params
        new = [Param(stored_name(key), value[:6000]) for key, value in values.items() if stored_name(key) not in have]
        for batch in _chunks(new, _SMALL_BATCH):
            self._client.log_batch(run_id, params=batch)

    def _tags(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for batch in _chunks([RunTag(stored_name(key), value[:5000]) for key, value in values.items()], _SMALL_BATCH):
            self._client.log_batch(run_id, tags=batch)

    def _image(self, run_id: str, source: Path, entry: Entry) -> None:
        """Lay a picture where MLflow's own ``log_image`` would, under a name that repeats."""
        from PIL import Image

        key = stored_name(entry["key"]).replace("/", "~")
        if self._stored[run_id].has_image(key, entry["step"]):
            return
        unique = uuid.uuid5(_NAMESPACE, f"{run_id} {key} {entry['step']}")
        stem = f"{key}+step+{entry['step']}+timestamp+{entry['time']}+{unique}"
        with TemporaryDirectory() as scratch, Image.open(source) as image:
            full = Path(scratch) / f"{stem}.png"
            full.write_bytes(source.read_bytes())
            small = image.convert("RGB")
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            small.save(Path(scratch) / f"{stem}{_SMALL}")
            self._client.log_artifacts(run_id, scratch, "images")
        self._client.set_tag(run_id, "mlflow.loggedImages", "True")

    def _table(self, run_id: str, entry: Entry) -> None:
        path = f"{entry['name']}.json"
        rows = [[None if _broken(value) else value for value in row] for row in entry["rows"]]  # JSON knows no NaN
        content = {"columns": entry["columns"], "data": rows}
        self._client.log_text(run_id, json.dumps(content, allow_nan=False), path)
        known = json.loads(self._client.get_run(run_id).data.tags.get("mlflow.loggedArtifacts", "[]"))
        if {"path": path, "type": "table"} not in known:
            tables = json.dumps([*known, {"path": path, "type": "table"}])
            self._client.set_tag(run_id, "mlflow.loggedArtifacts", tables)

    def _dataset(self, run_id: str, entry: Entry) -> None:
        """Add an input; the store knows a dataset of one name and digest, and an input of a run, once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        spec = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": entry["shape"]}}
        dataset = Dataset(
            name=entry["name"][:500],
            digest=entry["digest"][:_DIGEST],
            source_type="local",
            source=json.dumps({"uri": entry["source"]}),
            schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([spec]), "targets": None}}),
            profile=json.dumps(entry["profile"]),
        )
        context = InputTag("mlflow.data.context", entry["context"])
        self._client.log_inputs(run_id, [DatasetInput(dataset, [context])])

    def _view(self, experiment: str, entry: Entry) -> None:
        tag = TAG + view_id(entry["name"])
        have = self._client.get_experiment(experiment).tags.get(tag)
        if (
            have is None or json.loads(have).get("createdAt", 0) < entry["time"]
        ):  # an old record does not undo a new one
            self._client.set_experiment_tag(experiment, tag, view(entry))

    def _cell(self, parent_id: str, folder: Path, entry: Entry) -> None:
        """Add a child run, of finite numbers only: MLflow stores NaN as 0, where a filter for small values finds it."""
        parent = self._client.get_run(parent_id)
        shown = {key: value for key, value in parent.data.tags.items() if not key.startswith("mlflow.")}
        journal_id = f"{shown[JOURNAL_ID]}/{entry['name']}"
        shown.pop(STAGE, None)  # a cell is no stage of DVC
        shown["parent_stage"] = shown.get("stage", "")
        tags = shown | {"stage": "cell"} | entry["tags"] | {PARENT: parent_id, JOURNAL_ID: journal_id}
        if colour := tags.pop("colour", ""):
            tags["mlflow.runColor"] = colour
        if broken := sorted(key for key, value in entry["values"].items() if _broken(value)):
            tags["not_finite"] = ", ".join(broken)[:5000]
        values = {key: value for key, value in entry["values"].items() if key not in broken}
        cell = find_or_create(self._client, parent.info.experiment_id, entry["name"], entry["time"], tags)
        at_start = {"time": entry["time"], "step": 0}
        pictures = [{"kind": "image", "time": entry["time"], **picture} for picture in entry.get("images", [])]
        self._stored[cell.info.run_id] = _Stored(self._client, cell)
        self.send(cell.info.run_id, folder, pictures)
        self._metrics(cell.info.run_id, [{"values": values} | at_start])
        self._client.set_terminated(cell.info.run_id, "FINISHED", entry["time"])
        del self._stored[cell.info.run_id]


class _Stored:
    """What a run had before this mirror wrote to it; asked for key by key, when it matters."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client = client
        self._run_id = run.info.run_id
        self._keys = set(run.data.metrics)
        self._steps: dict[str, set[int]] = {}
        self._images: set[tuple[str, int]] | None = None if "mlflow.loggedImages" in run.data.tags else set()

    def has_point(self, key: str, step: int) -> bool:
        """Whether a number is stored already."""
        if key not in self._keys:
            return False
        if key not in self._steps:
            self._steps[key] = {point.step for point in self._client.get_metric_history(self._run_id, key)}
        return step in self._steps[key]

    def has_image(self, key: str, step: int) -> bool:
        """Whether a picture and its thumbnail are stored already."""
        if self._images is None:
            paths = [Path(item.path).name for item in self._client.list_artifacts(self._run_id, "images")]
            whole = {path.removesuffix(_SMALL) for path in paths if path.endswith(_SMALL)}
            names = [path.removesuffix(".png").split("+") for path in paths if path.removesuffix(".png") in whole]
            self._images = {(name[0], int(name[2])) for name in names}
        return (key, step) in self._images


def _as_metrics(entries: Sequence[Entry]) -> Iterator[Metric]:
    """Points of a curve: where it broke is to be seen, so NaN stays, and infinity (1.8e308 to MLflow) becomes NaN."""
    from mlflow.entities import Metric

    for entry in entries:
        for key, value in entry["values"].items():
            yield Metric(stored_name(key), math.nan if _broken(value) else value, entry["time"], entry["step"])


def _broken(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
