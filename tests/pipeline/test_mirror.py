"""The mirror against a real SQLite store: nothing twice, nothing lost, filters that find what they say."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run as Stored
from mlflow.tracking import MlflowClient
from PIL import Image

from pipeline.journal import Entry
from pipeline.mirror import MlflowMirror
from pipeline.publish import Publication, republish
from pipeline.tracking import Run, Status
from pipeline.ui import links
from pipeline.views import view
from tests.mortal import Mortal, PowerCut

pytestmark = pytest.mark.slow

KEY = "kid1k_x1e3[stylenet-61b4f7b5]"
STORED_KEY = "kid1k_x1e3.stylenet-61b4f7b5"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text("profile: demo\n")
    (tmp_path / "mlruns").mkdir()
    shutil.copyfile(empty_store, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


def comparison(project: Path, status: Status = "FINISHED") -> Run:
    """A run as the stage ``compare`` makes it, small."""
    run = Run.open("compare", {"params": project / "params.yaml"})
    for px in (8, 16, 32):
        run.log_image("faces/freeze_g", np.full((8, 8, 3), px, np.uint8), step=px)
        run.log_metrics({KEY: float(px), "bad": math.inf if px == 16 else math.nan}, step=px)
    run.log_dataset("flat", "a" * 64, "work/lmdb", (-1, 8, 8, 3), {"training": 8}, "evaluation")
    run.log_table("comparison", [{"method": "freeze_g", "fid": math.nan}])
    for method, kid, gate in (("freeze_g", 12.0, "pass"), ("baseline", 30.0, "fail"), ("it's", math.nan, "pass")):
        tags = {"method": method, "swap": "weights", "level": 8, "gate_memorisation": gate}
        picture = np.full((8, 8, 3), 7, np.uint8)
        run.log_cell(f"{method} weights-8", tags, {KEY: kid, "similarity": 0.5}, {"faces": picture})
    run.close(status)
    return run


def runs(project: Path, where: str = "") -> list[Stored]:
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], where))


def content(project: Path) -> dict[str, Any]:
    """All that the store holds, each thing as often as it is there."""
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    held: dict[str, Any] = {}
    for run in runs(project):
        points = [
            (key, point.step, str(point.value))
            for key in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, key)
        ]
        images = [item.path.split("+timestamp")[0] for item in client.list_artifacts(run.info.run_id, "images")]
        tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.parent")}
        files = sorted(item.path for item in client.list_artifacts(run.info.run_id))
        inputs = [item.dataset.digest for item in run.inputs.dataset_inputs]
        assert run.info.run_name not in held, f"two runs called {run.info.run_name}"
        held[run.info.run_name] = (Counter(points), Counter(images), tags, files, inputs, run.info.status)
    return held


def advance(run: Run, project: Path, client: Mortal | None = None, *, afresh: bool = False) -> bool:
    """Publish as a process of its own would; whether it lived to the end."""
    mirror = MlflowMirror(project)
    if client is not None:
        mirror._client = client.watch(mirror._client)
    try:
        Publication(run.folder, afresh=afresh).advance(mirror)
    except PowerCut:
        return False
    return True


@pytest.mark.parametrize("seed", range(8))
def test_a_publisher_killed_anywhere_again_and_again_leaves_every_point_picture_and_cell_once(
    project: Path, seed: int
) -> None:
    whole = project / "whole"
    shutil.copytree(project / "mlruns", whole / "mlruns")
    run = comparison(project)
    counting = Mortal(10**6, carried_out=True)
    assert advance(run, whole, counting)
    wanted = content(whole)
    assert len(wanted) == 4
    chance = random.Random(seed)
    lives = 0
    while lives < 2:  # once into an empty store, and again with all of it there: `republish --all`
        last = chance.randint(1, counting.calls * 5 // 4)
        lives += advance(run, project, Mortal(last, carried_out=chance.random() < 0.5), afresh=True)
        if lives:
            assert content(project) == wanted
    republish(project, everything=True)
    assert content(project) == wanted


def test_what_is_stored_stays_as_it_is_even_if_it_comes_again_at_another_time(project: Path) -> None:
    folder = project / "journal"
    folder.mkdir()
    entries: list[Entry] = []
    for time in (1000, 2000):
        path = folder / f"{time}.png"
        path.write_bytes(png(time // 1000))
        entries += [
            {"kind": "metrics", "time": time, "step": 5, "values": {"loss": time / 1000}},
            {"kind": "image", "time": time, "step": 5, "key": "samples", "file": path.name},
        ]
    begin = {"kind": "begin", "id": "one", "time": 1, "tags": {"dvc.stage": "train"}}
    for part in (entries[:2], entries[2:]):
        mirror = MlflowMirror(project)  # a second process
        mirror.send(mirror.begin("demo", begin), folder, part)
    (points, images, *_) = content(project)["train"]
    assert points == {("loss", 5, "1.0"): 1}
    assert images == {"images/samples+step+5": 2}  # the picture and its thumbnail
    assert [path.read_bytes() for path in project.glob("mlruns/**/samples*.png")] == [png(1)]


def png(shade: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_run_made_twice_by_a_server_whose_answer_was_lost_is_one_run_again(project: Path) -> None:
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    begin = {"kind": "begin", "id": "one", "time": 1, "tags": {"dvc.stage": "train"}}
    mirror = MlflowMirror(project)
    kept = mirror.begin("demo", begin)
    mirror.send(kept, project, [{"kind": "metrics", "time": 1, "step": 0, "values": {"loss": 1.0}}])
    (run,) = runs(project)
    client.create_run(run.info.experiment_id, tags={"journal.id": "one"})
    assert len(runs(project)) == 2
    assert MlflowMirror(project).begin("demo", begin) == kept
    assert [found.info.run_id for found in runs(project)] == [kept]


def latest(project: Path) -> dict[str, list[str]]:
    """Run id of the journal -> the tag ``latest`` of the run, then of its cells."""
    shown: dict[str, list[str]] = {}
    for run in sorted(runs(project), key=lambda found: found.data.tags["journal.id"]):
        shown.setdefault(run.data.tags["journal.id"].split("/")[0], []).append(run.data.tags["latest"])
    return shown


def begun(monkeypatch: pytest.MonkeyPatch, second: int) -> None:
    monkeypatch.setattr("pipeline.journal.time.time", lambda: 1_700_000_000 + second)


def test_a_repeated_stage_marks_its_earlier_records_and_their_cells_as_superseded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for second, status in enumerate(("FINISHED", "FINISHED", "FAILED")):
        begun(monkeypatch, second)
        made.append(comparison(project, status=status).folder.name)  # type: ignore[arg-type]
        republish(project)
    first, second_, failed = made
    assert latest(project) == {first: ["false"] * 4, second_: ["true"] * 4, failed: ["true"] * 4}
    begun(monkeypatch, 3)
    last = comparison(project).folder.name
    republish(project)
    assert latest(project) == {first: ["false"] * 4, second_: ["false"] * 4, failed: ["false"] * 4, last: ["true"] * 4}
    assert len(runs(project, "tags.latest = 'true' and tags.stage = 'cell'")) == 3


def test_the_newest_record_is_the_one_begun_last_in_whatever_order_they_are_sent(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Run] = []
    for second in range(3):
        begun(monkeypatch, second)
        made.append(comparison(project))
    for run in (made[1], made[2], made[0]):
        assert advance(run, project)
    wanted = [["false"] * 4, ["false"] * 4, ["true"] * 4]
    assert latest(project) == dict(zip([run.folder.name for run in made], wanted, strict=True))
    for number in range(1, 12):  # cut short while marking, too
        advance(made[0], project, Mortal(number, carried_out=True), afresh=True)
    republish(project, everything=True)
    assert latest(project) == dict(zip([run.folder.name for run in made], wanted, strict=True))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("tags.gate_memorisation = 'pass'", {"freeze_g weights-8", "it's weights-8"}),
        (f'metrics."{STORED_KEY}" < 20 and tags.stage = \'cell\'', {"freeze_g weights-8"}),  # NaN is not below 20
        (f"metrics.`{STORED_KEY}` > 20 and tags.stage = 'cell'", {"baseline weights-8"}),
        ("tags.method = 'freeze_g' and tags.swap = 'weights'", {"freeze_g weights-8"}),
        ("tags.not_finite LIKE '%kid1k%'", {"it's weights-8"}),
        ("tags.latest = 'true' and tags.stage = 'compare'", {"compare"}),
        ("tags.latest = 'true' and tags.parent_stage = 'compare' and tags.method = 'baseline'", {"baseline weights-8"}),
        ("tags.stage = 'cell' and metrics.similarity >= 0.5 and tags.level = '8'",
         {"freeze_g weights-8", "baseline weights-8", "it's weights-8"}),
    ],
)  # fmt: skip
def test_filters_find_the_cells_they_describe(project: Path, where: str, found: set[str]) -> None:
    comparison(project)
    republish(project)
    assert {run.info.run_name for run in runs(project, where)} == found


def test_a_curve_that_broke_shows_where_and_a_table_is_valid_json(project: Path) -> None:
    comparison(project)
    republish(project)
    points, images, *_ = content(project)["compare"]
    assert points == {
        **{(STORED_KEY, px, str(float(px))): 1 for px in (8, 16, 32)},
        **{("bad", px, "nan"): 1 for px in (8, 16, 32)},  # infinity would come back as 1.8e308
    }
    assert images == {f"images/faces~freeze_g+step+{px}": 2 for px in (8, 16, 32)}
    (table,) = project.glob("mlruns/**/comparison.json")
    parsed = json.loads(table.read_text(), parse_constant=pytest.fail)
    assert parsed["data"] == [["freeze_g", None]]


def test_a_point_has_one_kind_of_step(project: Path) -> None:
    run = Run.open("compare", {"params": project / "params.yaml"})
    with pytest.raises(ValueError, match=r"found 1\.5 kimg and step 8"):
        run.log_image("faces", np.zeros((2, 2, 3), np.uint8), 1.5, step=8)
    run.close()


def test_views_of_a_comparison_are_stored_by_name_and_an_old_record_undoes_no_new_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Run] = []
    for second, where in enumerate(("tags.stage = 'old'", "tags.stage = 'new'")):
        begun(monkeypatch, second)
        run = Run.open("compare", {"params": project / "params.yaml"})
        charts = [{"kind": "scatter", "keys": ["similarity", KEY]}, {"kind": "images", "keys": ["faces/a"], "step": 8}]
        run.log_view("Faces by level", where, f"metrics.{KEY}", ["tags.method", f"metrics.{KEY}"], charts)
        run.close()
        made.append(run)
    for run in (made[1], made[0]):
        assert advance(run, project)
    address = f"sqlite:///{project}/mlruns/mlflow.db"
    experiment = MlflowClient(address).get_experiment_by_name("demo")
    assert experiment is not None
    state = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.faces-by-level"])["state"])
    assert state["searchFilter"] == "tags.stage = 'new'"
    assert state["orderByKey"] == f"metrics.`{STORED_KEY}`"
    assert [card["type"] for card in state["compareRunCharts"]] == ["SCATTER", "IMAGE"]
    assert state["compareRunCharts"][0]["yaxis"]["key"] == STORED_KEY
    (found, newest) = links(address, int(experiment.experiment_id))
    assert found[0] == "Faces by level"
    assert "viewStateShareKey=faces-by-level&" in found[1]
    assert newest[1].endswith("searchFilter=tags.latest%20%3D%20%27true%27")


def test_a_view_of_too_many_charts_keeps_those_that_fit_in_a_tag() -> None:
    charts = [{"kind": "images", "keys": [f"faces/{number}"]} for number in range(100)]
    entry = {"name": "All", "where": "", "sort": "tags.method", "columns": [], "charts": charts, "time": 1}
    text = view(entry)
    assert len(text) <= 5000
    cards = json.loads(json.loads(text)["state"])["compareRunCharts"]
    assert 10 < len(cards) < 100
    assert cards[0]["imageKeys"] == ["faces/0"]
