"""A dataset that a stage packs is an input of its run in a real MLflow store, once however often it is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.publish import republish
from pipeline.tracking import Run

PARAMS = "profile: demo\nmethods: {}\ndatasets: {flat: {}}\nseeds: {}\n"
DIGEST = "0123456789abcdef" * 4


@pytest.mark.slow
def test_a_dataset_is_an_input_of_its_run_with_name_digest_source_and_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS)
    runs = []
    for context in ("build", "training"):
        run = Run.open(f"{context}@flat", {"params": tmp_path / "params.yaml"})
        shape = [-1, 64, 64, 3]
        run.log_dataset("flat", DIGEST, "s3://me:secret@host/flat", shape, {"train": 90, "heldout": 10}, context)
        run.close()
        runs.append(run)
    for attempt in range(3):
        republish(tmp_path, everything=attempt == 1)
        if attempt == 1:
            (runs[0].folder / "published.jsonl").unlink()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == 2
    for run in found:
        (given,) = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("flat", DIGEST[:36])
        assert json.loads(given.dataset.source) == {"uri": "s3://***@host/flat"}
        assert json.loads(given.dataset.profile) == {"train": 90, "heldout": 10}
        features = json.loads(json.loads(given.dataset.schema)["mlflow_tensorspec"]["features"])
        assert features == [{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 64, 64, 3]}}]
        assert {tag.key: tag.value for tag in given.tags} == {
            "mlflow.data.context": str(run.data.tags["dvc.stage"]).partition("@")[0]
        }


def test_what_is_recorded_survives_as_a_line_of_the_journal(tmp_path: Path) -> None:
    run = Run(tmp_path / "record")
    run.log_dataset("flat", DIGEST, "work/lmdb/flat", [-1, 8, 8, 3], {"train": 1}, "build")
    run.close()
    entries = [json.loads(line) for line in (run.folder / "journal.jsonl").read_text().splitlines()]
    (entry,) = [entry for entry in entries if entry["kind"] == "dataset"]
    assert (entry["name"], entry["digest"], entry["context"]) == ("flat", DIGEST, "build")
