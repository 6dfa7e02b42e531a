"""The whole pipeline on real drawings: anime crops and comic pages through the real anime cascade, tiny trainings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from model.data.images import read_image
from model.files import verify_manifest
from pipeline.params import read_params
from tests.project import ROOT, copy_project, ran, repro

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_real_drawings_go_through_every_stage(real_data: Path, tmp_path: Path) -> None:
    home = tmp_path / "project"
    copy_project(home)
    params = read_params(ROOT / "params.yaml")
    anime = read_params(ROOT / "profiles" / "paper" / "params.yaml")["crop"]["faces"]["anime"]
    anime["detector"] |= {"file": str(real_data / "detectors" / "lbpcascade_animeface.xml"), "min_face": 40}
    anime["filters"] |= {"min_side": 64}
    folder = {
        "source": "folder", "group_by": "file", "pick": None, "max_bad_fraction": 0.02,
        "exclude": "exclusions/none.txt", "license": "test use only",
    }  # fmt: skip
    params["datasets"] = {
        "anime": {**folder, "where": str(real_data / "cartoon_faces" / "anime256"), "face": "none"},
        "comics": {**folder, "where": str(real_data / "comic_pages"), "face": "anime"},
    }
    params["crop"]["faces"] = {"anime": anime}
    params["lmdb"]["min_heldout"] = 4
    params["methods"] = {"structure_loss": params["methods"]["structure_loss"]}
    params["train"] |= {"kimg": 0.064, "batch": 8, "tick_kimg": 0.032, "sample_kimg": 0.032, "state_kimg": 0.032}
    params["compare"]["baseline"] = "structure_loss"
    params["evaluate"] |= {"images": 64, "pairs": 32, "path_length": 8, "tiles": {"first": 8, "random": 4, "worst": 4}}
    with (home / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    assert "compare" in ran(repro(home))
    for dataset, least in (("anime", 990), ("comics", 20)):
        faces = home / "work" / "demo" / "faces" / dataset
        verify_manifest(faces)
        crops = sorted((faces / "crops").glob("*.png"))
        assert len(crops) >= least
        assert {read_image(path).shape for path in crops[:20]} == {(64, 64, 3)}
    reports = home / "reports" / "demo"
    assert {"anime", "comics"} <= set(json.loads((reports / "metrics.json").read_text()))
    text = (reports / "index.html").read_text()
    assert "anime" in text
    assert "comics" in text
