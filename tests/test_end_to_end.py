"""The whole pipeline through `dvc repro`, small: every stage, from comic pages to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from model.files import verify_manifest
from pipeline.params import read_params
from pipeline.tracking import Run
from stages.comparing.table import read_table
from stages.page import page
from tests.project import METHODS, copy_project, ran, repro, shrink

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project whose params.yaml is tiny, reproduced once."""
    home = tmp_path_factory.mktemp("clone") / "project"
    copy_project(home)
    shrink(home)
    assert "compare" in ran(repro(home))
    return home


def test_every_stage_leaves_a_verified_folder_and_the_report_shows_every_method(home: Path) -> None:
    for folder in [*home.glob("work/demo/*/*/"), home / "work" / "demo" / "source"]:
        if folder.is_dir() and folder.parent.name != "plan":
            verify_manifest(folder)
    text = (home / "reports" / "demo" / "index.html").read_text()
    assert all(method.replace("_", " ") in text for method in METHODS)
    assert "0.032 kimg" in text
    metrics = json.loads((home / "reports" / "demo" / "metrics.json").read_text())
    assert set(METHODS) <= set(metrics["flat"])
    table = read_table(home / "reports" / "demo" / "data" / "table.parquet")
    assert len(table.cells) == len(METHODS) * 2 * (1 + 2 * 2)  # two snapshots, two kinds at two levels and no swap


def test_the_page_comes_back_byte_for_byte_from_the_table_and_the_pictures(home: Path, tmp_path: Path) -> None:
    reports = home / "reports" / "demo"
    page(home / "params.yaml", reports / "data", tmp_path / "again", Run(tmp_path / "run"))
    for name in ("index.html", "study.html", "hero.png"):
        assert (tmp_path / "again" / name).read_bytes() == (reports / name).read_bytes()


def test_a_second_repro_executes_nothing(home: Path) -> None:
    assert ran(repro(home)) == set()


def test_a_comment_in_a_technique_retrains_nothing_and_a_real_change_only_its_methods(home: Path) -> None:
    technique = home / "model" / "finetune" / "freeze_g.py"
    text = technique.read_text()
    technique.write_text(text + "\n# a comment\n")
    assert not any(stage.startswith(("train", "swap", "evaluate", "compare")) for stage in ran(repro(home)))
    technique.write_text(text + "\nUNUSED = 1\n")
    executed = ran(repro(home))
    assert {stage for stage in executed if stage.startswith("train")} == {"train@freeze_g-flat-s0"}


def test_a_changed_number_reruns_only_what_depends_on_it(home: Path) -> None:
    file = home / "params.yaml"
    before = file.read_text()
    params = read_params(file)
    params["page"]["hero_faces"] = 4
    with file.open("w") as stream:
        YAML().dump(params, stream)
    assert ran(repro(home)) == {"page"}
    params["compare"]["max_style_ratio"] = 0.5
    with file.open("w") as stream:
        YAML().dump(params, stream)
    assert ran(repro(home)) == {"compare", "page"}  # with the same numbers, so there is nothing to publish
    params["swap"]["snapshots"] = ["last"]
    with file.open("w") as stream:
        YAML().dump(params, stream)
    assert {stage.partition("@")[0] for stage in ran(repro(home))} == {
        "swap",
        "evaluate",
        "compare",
        "page",
        "publish",
    }
    file.write_text(before)
