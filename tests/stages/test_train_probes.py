"""The command train_probes, from a params file to weight files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from safetensors import safe_open

from model.files import atomic_write_text, verify_manifest, write_manifest
from model.metrics.features import AttributeReader, StyleFeatures
from pipeline.params import read_section
from stages import train_probes as module
from stages.train_probes import ProbeParams, train_probes
from tests.metrics.standin import LIVELY

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FIT = {"kimg": 0.032, "batch": 16, "learning_rate": 0.001, "jitter": asdict(LIVELY)}
PROBES = {"world": 5, "faces": 8, "heldout": 8, "seed": 1, "attribute_net": FIT, "style_net": FIT}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"probes": PROBES}))
    return path


def test_both_networks_and_their_report_are_written_and_load(params: Path, tmp_path: Path) -> None:
    train_probes(params, tmp_path / "out", tmp_path / "scratch")
    assert set(verify_manifest(tmp_path / "out")["files"]) == {
        "attribute_net.safetensors", "style_net.safetensors", "probes_report.json"
    }  # fmt: skip
    assert AttributeReader(tmp_path / "out").eyes == (0, 1)
    assert StyleFeatures(tmp_path / "out").styles == ("photo", "flat", "ink")
    report = json.loads((tmp_path / "out" / "probes_report.json").read_text())
    assert report["style_net"]["images_per_side"] == 4
    assert set(report["attribute_net"]) >= {"photo", "flat", "ink", "photo-flat"}
    with safe_open(tmp_path / "out" / "style_net.safetensors", framework="pt") as file:
        made_by = json.loads(file.metadata()["provenance"])
    assert made_by["recipe"] == PROBES
    assert len(made_by["data_sha256"]) == 64


def test_a_second_run_renders_and_trains_nothing_and_writes_the_same_weights(
    params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_probes(params, tmp_path / "out", tmp_path / "scratch")
    monkeypatch.setattr(module, "render", None)
    train_probes(params, tmp_path / "again", tmp_path / "scratch")
    first, second = (verify_manifest(tmp_path / name)["files"] for name in ("out", "again"))
    assert first == second


def test_other_files_and_notes_of_the_assets_folder_stay(params: Path, tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "out" / "other.txt", "kept")
    write_manifest(tmp_path / "out", {"note": "kept too"})
    train_probes(params, tmp_path / "out", tmp_path / "scratch")
    manifest = verify_manifest(tmp_path / "out")
    assert "other.txt" in manifest["files"]
    assert manifest["note"] == "kept too"


def test_the_recipe_of_the_shipped_networks_is_complete() -> None:
    recipe = read_section(ROOT / "profiles" / "assets" / "params.yaml", "probes", ProbeParams)
    for name in ("attribute_net", "style_net"):
        with safe_open(ROOT / "model" / "assets" / f"{name}.safetensors", framework="pt") as file:
            made_by = json.loads(file.metadata()["provenance"])["recipe"]
        assert made_by == json.loads(json.dumps(asdict(recipe)))
