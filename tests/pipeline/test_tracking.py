import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import publish
from pipeline.journal import Entry, journals, last_entry, mask
from pipeline.provenance import deps_digest, git_state, grid_tags
from pipeline.publish import Publication, follow, publisher_lock, republish
from pipeline.tracking import HEALTH, Run

PARAMS = "profile: demo\nmethods: {a-b: {}, a: {}}\ndatasets: {flat: {}, b-flat: {}}\nseeds: {s0: 0}\n"


class FakeMirror:
    """A server in memory; ``failures`` says how many of the next calls fail."""

    def __init__(self) -> None:
        self.uri = "fake:"
        self.failures = 0
        self.runs: dict[str, str] = {}
        self.sent: list[Entry] = []

    def begin(self, profile: str, entry: Entry) -> str:
        self._answer()
        return self.runs.setdefault(entry["id"], f"run-{len(self.runs)}")

    def send(self, run_id: str, folder: Path, entries: Sequence[Entry]) -> None:
        self._answer()
        self.sent += [dict(entry) for entry in entries]

    def _answer(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no route to host")

    def kinds(self) -> list[str]:
        return [entry["kind"] for entry in self.sent]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    for name, value in {"_POLL": 0.01, "_LINGER": 0.05, "_PATIENCE": (0.01,)}.items():
        monkeypatch.setattr(publish, name, value)
    return tmp_path


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> FakeMirror:
    fake = FakeMirror()
    monkeypatch.setattr(publish, "_connect", lambda root: fake)
    return fake


def open_run(project: Path, stage: str = "train@a-flat-s0", **flags: Any) -> Run:
    return Run.open(stage, {"params": project / "params.yaml", **flags})


def lines(run: Run) -> list[Entry]:
    return [json.loads(line) for line in (run.folder / "journal.jsonl").read_text().splitlines()]


def test_every_call_is_on_disk_at_once_and_pictures_are_kept_by_copy(project: Path) -> None:
    run = open_run(project)
    picture = project / "sheet.png"
    run.log_image("samples", np.zeros((4, 6, 3), np.uint8), 12.5)
    (run.folder / "images" / "samples-12500.png").rename(picture)
    run.log_image("sheets/best", picture, 1.0)
    picture.unlink()
    run.log_metrics({"d_loss": 1, "bad": float("nan")}, step_kimg=12.5)
    run.log_table("cells", [{"a": 1}, {"b": 2}])
    run.log_params({"train": {"kimg": 4}})
    kinds = {entry["kind"]: entry for entry in lines(run)}
    assert kinds["metrics"]["step"] == 12500  # images, because MLflow's steps are integers
    assert kinds["table"]["rows"] == [[1, None], [None, 2]]
    assert kinds["params"]["values"] == {"train.kimg": "4"}
    assert (run.folder / kinds["image"]["file"]).is_file()
    assert run.folder.parent == project / "scratch" / "tracking" / "demo" / "train@a-flat-s0"
    run.close()


def test_a_setting_is_recorded_once_under_the_name_the_stage_gave_it(project: Path) -> None:
    run = open_run(project)
    run.log_params({"kimg": 4, "batch": 8})
    run.log_params({"train": {"kimg": 4, "batch": 16, "lr_g": 0.002}})
    values = [entry["values"] for entry in lines(run) if entry["kind"] == "params"]
    assert values == [{"kimg": "4", "batch": "8"}, {"train.batch": "16", "train.lr_g": "0.002"}]
    run.close()


def test_a_run_is_tagged_with_its_place_in_the_grid_even_if_names_hold_dashes(project: Path) -> None:
    params = {"methods": {"a-b": {}, "a": {}}, "datasets": {"flat": {}, "b-ink": {}}, "seeds": {"s0": 0}}
    assert grid_tags("train@a-b-flat-s0", params, {}) == {"method": "a-b", "dataset": "flat", "seed": "s0"}
    assert grid_tags("train@a-b-ink-s0", params, {}) == {"method": "a", "dataset": "b-ink", "seed": "s0"}
    assert grid_tags("plan@a-b", params, {}) == {"method": "a-b"}
    assert grid_tags("crop@flat", params, {"dataset": "flat"}) == {"dataset": "flat"}
    assert grid_tags("compare", params, {}) == {}


def test_the_digest_follows_manifests_command_and_settings(project: Path) -> None:
    data = project / "lmdb"
    data.mkdir()
    (data / "MANIFEST.json").write_text("{}")
    (data / "data.mdb").write_text("x")
    flags = {"stage": "train", "lmdb": data, "out": project / "out", "seed": "s0"}
    digest = deps_digest(flags, {"train": {"kimg": 4}})
    assert deps_digest(flags, {"train": {"kimg": 4}}) == digest
    assert deps_digest(flags, {"train": {"kimg": 5}}) != digest
    assert deps_digest(flags | {"seed": "s1"}, {"train": {"kimg": 4}}) != digest
    (data / "MANIFEST.json").write_text('{"format": 1}')
    assert deps_digest(flags, {"train": {"kimg": 4}}) != digest


def test_git_state_is_absent_outside_a_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {}


def test_passwords_and_tokens_never_reach_a_journal(project: Path) -> None:
    run = open_run(project)
    run.set_tags({"where": "https://me:hunter2@example.org/x?token=xyzzy&page=2"})
    run.close("FAILED", ValueError("https://me:hunter2@example.org refused"))
    text = (run.folder / "journal.jsonl").read_text()
    assert "hunter2" not in text
    assert "xyzzy" not in text
    assert mask("https://me:pw@host/?page=2") == "https://***@host/?page=2"


def test_every_entry_is_sent_once_while_a_run_grows_and_after_it_ended(project: Path, mirror: FakeMirror) -> None:
    run = open_run(project)
    run.log_metrics({"loss": 1.0}, 1)
    first = Publication(run.folder, afresh=False)
    assert first.advance(mirror) == 2
    assert first.advance(mirror) == 0
    run.log_metrics({"loss": 2.0}, 2)
    second = Publication(run.folder, afresh=False)  # another publisher takes over
    assert second.advance(mirror) == 1
    run.close()
    assert republish(project) > 0
    assert republish(project) == 0
    assert mirror.kinds() == ["begin", "metrics", "metrics", "tags", "end"]
    assert len(mirror.runs) == 1


def test_a_value_repeated_for_one_key_and_step_is_sent_once(project: Path, mirror: FakeMirror) -> None:
    run = open_run(project)
    run.log_metrics({"loss": 1.0, "fid": 3.0}, 1)
    run.log_metrics({"loss": 9.0, "kid": 4.0}, 1)
    run.log_image("samples", np.zeros((2, 2, 3), np.uint8), 1)
    run.log_image("samples", np.ones((2, 2, 3), np.uint8), 1)
    run.close()
    republish(project)
    values = [entry["values"] for entry in mirror.sent if entry["kind"] == "metrics"]
    assert values == [{"loss": 1.0, "fid": 3.0}, {"kid": 4.0}]
    assert mirror.kinds().count("image") == 1


def test_a_stage_that_was_killed_is_recorded_as_killed(project: Path, mirror: FakeMirror) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.tracking import Run;"
        "run = Run.open('train@a-flat-s0', {'params': Path('params.yaml')}); run.log_metrics({'loss': 1.0}, 1);"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=project, **pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (folder,) = journals(project)
        publication = Publication(folder, afresh=False)
        publication.advance(mirror)
        assert publication.growing
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not publication.growing
    publication.advance(mirror)
    assert publication.done
    assert mirror.sent[-1]["kind"] == "end"
    assert mirror.sent[-1]["status"] == "KILLED"


def test_half_a_line_is_left_until_it_is_whole(project: Path, mirror: FakeMirror) -> None:
    run = open_run(project)
    run.close()
    path = run.folder / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    publication = Publication(run.folder, afresh=False)
    publication.advance(mirror)
    assert mirror.sent[-1]["status"] == "KILLED"  # all a power failure left says so


def test_a_server_that_answers_late_gets_everything_and_a_dead_one_stops_nothing(
    project: Path, mirror: FakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.failures = 3
    run = open_run(project)
    helper = threading.Thread(target=follow, args=(project,))
    helper.start()
    run.log_metrics({"loss": 1.0}, 1)
    run.close()
    helper.join(timeout=60)
    assert not helper.is_alive()
    assert mirror.kinds() == ["begin", "metrics", "tags", "end"]
    mirror.failures = 10_000
    second = open_run(project)
    helper = threading.Thread(target=follow, args=(project,))
    helper.start()
    while last_entry(project / "scratch" / "tracking" / HEALTH).get("ok", True):
        helper.join(timeout=0.01)
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            second.log_metrics({"loss": 1.0}, step)
        second.close()
    helper.join(timeout=60)
    assert not helper.is_alive()
    warnings = [record.getMessage() for record in caplog.records if str(second.folder) in record.getMessage()]
    assert len(warnings) == 1
    assert "no route to host" in warnings[0]
    assert "cartoon-pipeline republish" in warnings[0]
    mirror.failures = 0
    assert republish(project) == 8  # begin, five metrics, tags, end


def test_one_publisher_works_at_a_time(project: Path, mirror: FakeMirror) -> None:
    open_run(project).close()
    with publisher_lock(project, 0) as mine:
        assert mine
        follow(project)  # leaves at once
        with pytest.raises(TimeoutError):
            republish(project, wait=0)
    assert mirror.sent == []


@pytest.mark.slow
def test_mlflow_holds_every_number_picture_and_cell_exactly_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = open_run(project)
    for step in range(5):
        run.log_metrics({"loss": step / 2, "fid[style]": float("nan")}, step)
        run.log_image("samples", np.full((8, 8, 3), step, np.uint8), step)
    run.log_table("cells", [{"level": 8, "fid": 3.0}])
    run.log_cell("weights-8", {"swap": "weights", "swap_level": 8}, {"fid": 3.0})
    run.log_artifact(project / "params.yaml")
    run.log_params({"train": {"kimg": 4}})
    run.close()
    for attempt in range(3):
        republish(project, everything=attempt == 1)
        if attempt == 1:
            (run.folder / "published.jsonl").unlink()  # a publisher that died before it could note anything
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    (experiment,) = [found for found in client.search_experiments() if found.name == "demo"]
    stage, cell = sorted(
        client.search_runs([experiment.experiment_id]), key=lambda found: found.data.tags["stage"] == "cell"
    )
    assert [(m.step, m.value) for m in client.get_metric_history(stage.info.run_id, "loss")] == [
        (1000 * step, step / 2) for step in range(5)
    ]
    assert len(client.get_metric_history(stage.info.run_id, "fid.style")) == 5
    images = [item.path for item in client.list_artifacts(stage.info.run_id, "images")]
    assert len([path for path in images if path.endswith(".png")]) == 5
    (table,) = (project / "mlruns").rglob("cells.json")
    assert json.loads(table.read_text()) == {"columns": ["level", "fid"], "data": [[8, 3.0]]}
    assert json.loads(stage.data.tags["mlflow.loggedArtifacts"]) == [{"path": "cells.json", "type": "table"}]
    assert stage.info.status == "FINISHED"
    assert stage.data.params == {"train.kimg": "4"}
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"  # the UI's views for training
    assert stage.data.tags["method"] == "a"
    assert len(stage.data.tags["dvc.deps_digest"]) == 64
    assert cell.data.tags["mlflow.parentRunId"] == stage.info.run_id
    assert (cell.data.tags["method"], cell.data.tags["swap_level"]) == ("a", "8")
    assert cell.data.metrics == {"fid": 3.0}


@pytest.mark.slow
def test_a_stage_is_mirrored_by_its_helper_without_being_asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("CARTOON_TRACKING", "live")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = open_run(project)
    run.log_metrics({"loss": 1.0}, 1)
    run.close()
    waited = threading.Event()
    for _ in range(1200):
        if last_entry(run.folder / "published.jsonl").get("done"):
            break
        waited.wait(0.1)
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    assert [found.data.metrics for found in client.search_runs([experiment.experiment_id])] == [{"loss": 1.0}]
    with publisher_lock(project, 60) as mine:  # the helper has left before the folder goes
        assert mine
