"""The only module that imports MLflow: runs, numbers, pictures and tables, each sent so that repeating is harmless."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.journal import Entry, mask

if TYPE_CHECKING:
    from mlflow.entities import Metric

_ID_TAG = "journal.id"
_BATCH = 900  # MLflow takes 1000 metrics a call
_SMALL_BATCH = 90  # and 100 params or tags
_DIGEST = 36  # characters that it keeps of a dataset's digest
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

    def begin(self, profile: str, entry: Entry) -> str:
        """Find or create the run whose journal starts with ``entry``; returns its MLflow id."""
        tags = dict(entry["tags"])
        name = str(tags.get("dvc.stage", entry["id"]))
        return self._find_or_create(self._experiment(profile), entry["id"], name, entry["time"], tags)

    def send(self, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
        """Send entries in order, runs of metrics as one call."""
        for kind, group in groupby(entries, key=lambda entry: str(entry["kind"])):
            if kind == "metrics":
                self._metrics(run_id, list(group))
                continue
            for entry in group:
                self._one(run_id, folder, entry)

    def _one(self, run_id: str, folder: Path, entry: Entry) -> None:
        match entry["kind"]:
            case "image":
                self._image(run_id, folder, entry)
            case "artifact":
                place = entry["folder"] or None
                self._client.log_artifact(run_id, str(folder / entry["file"]), place)
            case "table":
                self._table(run_id, entry)
            case "dataset":
                self._dataset(run_id, entry)
            case "cell":
                self._cell(run_id, entry)
            case "params":
                self._params(run_id, entry["values"])
            case "tags":
                self._tags(run_id, entry["values"])
            case "end":
                self._client.set_terminated(run_id, entry["status"], entry["time"])

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

    def _find_or_create(self, experiment: str, journal_id: str, name: str, begun: int, tags: dict[str, str]) -> str:
        for run in self._client.search_runs([experiment], f"tags.`{_ID_TAG}` = '{journal_id}'", max_results=1):
            return str(run.info.run_id)
        made = self._client.create_run(experiment, start_time=begun, tags=tags | {_ID_TAG: journal_id}, run_name=name)
        return str(made.info.run_id)

    def _metrics(self, run_id: str, entries: Sequence[Entry]) -> None:
        for batch in _chunks(list(_as_metrics(entries)), _BATCH):
            self._client.log_batch(run_id, metrics=batch)

    def _params(self, run_id: str, values: Mapping[str, str]) -> None:
        """MLflow refuses to change a setting: the first value stays."""
        from mlflow.entities import Param

        have = self._client.get_run(run_id).data.params
        new = [Param(_name(key), value[:6000]) for key, value in values.items() if _name(key) not in have]
        for batch in _chunks(new, _SMALL_BATCH):
            self._client.log_batch(run_id, params=batch)

    def _tags(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for batch in _chunks([RunTag(_name(key), value[:5000]) for key, value in values.items()], _SMALL_BATCH):
            self._client.log_batch(run_id, tags=batch)

    def _image(self, run_id: str, folder: Path, entry: Entry) -> None:
        """Lay a picture where MLflow's own ``log_image`` would, under a name that repeats."""
        from PIL import Image

        source = folder / entry["file"]
        key = _name(entry["key"]).replace("/", "~")
        unique = uuid.uuid5(_NAMESPACE, f"{run_id} {key} {entry['step']}")
        stem = f"{key}+step+{entry['step']}+timestamp+{entry['time']}+{unique}"
        with TemporaryDirectory() as scratch, Image.open(source) as image:
            full = Path(scratch) / f"{stem}.png"
            full.write_bytes(source.read_bytes())
            small = image.convert("RGB")
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            small.save(Path(scratch) / f"{stem}+compressed.webp")
            self._client.log_artifacts(run_id, scratch, "images")
        self._client.set_tag(run_id, "mlflow.loggedImages", "True")

    def _table(self, run_id: str, entry: Entry) -> None:
        path = f"{entry['name']}.json"
        content = {"columns": entry["columns"], "data": entry["rows"]}
        self._client.log_text(run_id, json.dumps(content), path)
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

    def _cell(self, parent_id: str, entry: Entry) -> None:
        parent = self._client.get_run(parent_id)
        shown = {key: value for key, value in parent.data.tags.items() if not key.startswith("mlflow.")}
        journal_id = f"{shown.pop(_ID_TAG)}/{entry['name']}"
        tags = shown | {"stage": "cell"} | entry["tags"] | {"mlflow.parentRunId": parent_id}
        experiment = parent.info.experiment_id
        run_id = self._find_or_create(experiment, journal_id, entry["name"], entry["time"], tags)
        self._metrics(run_id, [entry | {"step": 0}])
        self._client.set_terminated(run_id, "FINISHED", entry["time"])


def _as_metrics(entries: Sequence[Entry]) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for entry in entries:
        for key, value in entry["values"].items():
            yield Metric(_name(key), value, entry["time"], entry["step"])


def _name(key: str) -> str:
    """MLflow's names hold letters, digits and ``_-. :/``: ``fid[style]`` becomes ``fid.style``."""
    return re.sub(r"[^\w\-. :/]", "_", key.replace("[", ".").replace("]", ""), flags=re.ASCII)[:250]


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
