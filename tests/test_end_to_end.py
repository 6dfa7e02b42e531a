"""The whole pipeline through `dvc repro`, small: every stage, from comic pages to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from model.checkpoint.native import save_networks
from model.files import verify_manifest
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from pipeline.params import read_params
from pipeline.tracking import Run
from stages.comparing.table import read_table
from stages.page import page
from tests.project import ROOT, copy_project, ran, repro
from tests.tiny import tiny_generator

RGB_16 = {"space": "rgb", "resolutions": [4, 8, 16], "weight": 1.0, "reduction": "sum"}
METHODS = {
    "freeze_g": {"freeze_d": {"train_up_to": 16}, "freeze_g": {"train_from": 16}, "freeze_mapping": {}},
    "structure_loss": {"freeze_d": {"train_up_to": 16}, "structure_loss": RGB_16},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project whose params.yaml is tiny, reproduced once."""
    home = tmp_path_factory.mktemp("clone") / "project"
    copy_project(home)
    judge = Discriminator(DiscriminatorConfig(32, 256, 16))
    save_networks(home / "source.safetensors", generator=tiny_generator(), discriminator=judge, provenance={})
    params = read_params(ROOT / "params.yaml")
    params["datasets"]["flat"]["pages"] = 10
    params["methods"] = METHODS
    params["crop"]["resolution"], params["lmdb"]["sizes"] = 32, [32]
    params["lmdb"]["min_heldout"] = 4
    params["pretrained"] |= {"weights": "source.safetensors", "resolution": 32}
    params["train"] |= {"kimg": 0.064, "batch": 8, "tick_kimg": 0.032, "sample_kimg": 0.032, "state_kimg": 0.032}
    params["snapshots"] |= {"kimg": 0.032, "images": 16}
    params["swap"] |= {"levels": [8, 16], "snapshots": ["kept", 0.032], "faces": 4}
    params["compare"]["baseline"] = "freeze_g"
    params["evaluate"] |= {"images": 128, "pairs": 64, "path_length": 8, "tiles": {"first": 8, "random": 4, "worst": 4}}
    with (home / "params.yaml").open("w") as file:
        YAML().dump(params, file)
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
    assert ran(repro(home)) - {"publish"} == {"compare", "page"}
    params["swap"]["snapshots"] = ["last"]
    with file.open("w") as stream:
        YAML().dump(params, stream)
    assert {stage.partition("@")[0] for stage in ran(repro(home))} - {"publish"} == {
        "swap",
        "evaluate",
        "compare",
        "page",
    }
    file.write_text(before)
