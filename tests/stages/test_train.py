"""The stages plan, pretrained and train, from files to files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from model.checkpoint.native import load_generator, read_header, save_networks
from model.checkpoint.rosinality import write_rosinality
from model.data.images import read_image
from model.errors import CorruptInputError, MissingInputError, UsageError
from model.files import sha256_file, verify_manifest
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from pipeline.params import ParamsError
from stages.plan import fingerprint, fingerprints, plan
from stages.pretrained import pretrained
from stages.train import train
from tests.checkpoint.nvidia_files import write_torch
from tests.finetune.test_techniques import METHODS
from tests.stages.training import TRAIN, Setup, new_run, power_cut, write_params
from tests.tiny import tiny_generator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def run_train(setup: Setup) -> None:
    train(**setup.arguments(), run=new_run(setup.folder))  # type: ignore[arg-type]


def test_train_writes_generator_discriminator_statistics_and_samples_and_leaves_no_scratch(setup: Setup) -> None:
    run_train(setup)
    details = verify_manifest(setup.out)
    assert (details["method"], details["dataset"], details["seed"]) == ("structure_loss", "flat", "s0")
    stats = pd.read_csv(setup.out / "stats.csv")
    assert stats["kimg"].tolist() == pytest.approx([0.008, 0.016, 0.024, 0.032])
    assert (stats["technique_loss"][1:] > 0).all()
    assert sorted(p.name for p in (setup.out / "samples").iterdir()) == ["00000000.png", "00000016.png", "00000032.png"]
    assert read_image(setup.out / "samples" / "00000032.png").std() > 5
    source, tuned = (
        load_generator(p) for p in (setup.source / "networks.safetensors", setup.out / "generator.safetensors")
    )
    assert not torch.equal(source.synthesis.const, tuned.synthesis.const)
    provenance = read_header(setup.out / "generator.safetensors").provenance
    assert provenance["source"] == sha256_file(setup.source / "networks.safetensors")
    assert not setup.scratch.exists()


def test_a_training_names_the_dataset_it_learns_from(setup: Setup) -> None:
    run = new_run(setup.folder)
    train(**setup.arguments(), run=run)  # type: ignore[arg-type]
    entries = [json.loads(line) for line in (run.folder / "journal.jsonl").read_text().splitlines()]
    (dataset,) = [entry for entry in entries if entry["kind"] == "dataset"]
    assert (dataset["name"], dataset["context"], dataset["shape"]) == ("flat", "training", [8, 32, 32, 3])
    assert dataset["digest"] == sha256_file(setup.lmdb / "train" / "MANIFEST.json")


def test_training_twice_gives_the_same_bytes(setup: Setup) -> None:
    run_train(setup)
    first = {name: entry["sha256"] for name, entry in verify_manifest(setup.out)["files"].items()}
    run_train(setup)
    assert {name: entry["sha256"] for name, entry in verify_manifest(setup.out)["files"].items()} == first


def test_an_interrupted_training_continues_to_the_same_bytes(setup: Setup) -> None:
    run_train(setup)
    whole = verify_manifest(setup.out)["files"]
    with power_cut(5):
        run_train(setup)
    assert verify_manifest(setup.out)["files"] == whole  # what was there is still there
    assert list(setup.scratch.glob("state-*"))
    run_train(setup)
    assert verify_manifest(setup.out)["files"] == whole


@pytest.mark.slow
def test_sigterm_saves_and_exits_75_and_the_same_command_continues(tmp_path: Path) -> None:
    setup = Setup(tmp_path, train={**TRAIN, "kimg": 2.0, "tick_kimg": 0.1, "sample_kimg": 5.0, "state_kimg": 5.0})
    flags = [x for name, value in setup.arguments().items() for x in (f"--{name}", str(value))]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CARTOON_TRACKING": "journal"}
    process = subprocess.Popen([sys.executable, "-m", "stages.train", *flags], cwd=tmp_path, env=env)
    deadline = time.monotonic() + 120
    while not (setup.scratch / "samples" / "00000000.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    state = max(setup.scratch.glob("state-*"))
    verify_manifest(state)
    assert 0 < int(state.name[-9:]) < 500
    assert not setup.out.exists()


def test_a_changed_setting_refuses_the_old_state_and_says_what_changed(setup: Setup) -> None:
    with power_cut(5):
        run_train(setup)
    write_params(setup.params, seeds={"s0": 9})
    with pytest.raises(UsageError, match="seed: 0 then, 9 now"):
        run_train(setup)


def test_a_truncated_lmdb_or_weight_file_is_refused_before_training(setup: Setup) -> None:
    weights = setup.source / "networks.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(CorruptInputError, match=r"networks\.safetensors"):
        run_train(setup)
    weights.write_bytes(whole)
    data = setup.lmdb / "train" / "data.mdb"
    data.write_bytes(data.read_bytes()[:-4096])
    with pytest.raises(CorruptInputError, match=r"data\.mdb"):
        run_train(setup)


def test_plan_changes_with_code_and_settings_but_not_with_comments_or_other_techniques(tmp_path: Path) -> None:
    params = write_params(tmp_path / "params.yaml")
    plan(params, "freeze_g", tmp_path / "one.json")
    read = json.loads((tmp_path / "one.json").read_text())
    assert read["techniques"] == METHODS["freeze_g"]
    assert "model/finetune/freeze_g.py" in read["code"]
    assert "model/training/trainer.py" in read["code"]
    assert "model/finetune/structure_loss.py" not in read["code"]
    assert not any("augment" in name for name in read["code"])
    write_params(params, methods={**METHODS, "other": {"structure_loss": {"weight": 1.0}}})
    plan(params, "freeze_g", tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(("technique", "augments"), [("augment", True), ("ada", True), ("compat", False)])
def test_plan_fingerprints_the_techniques_file_and_the_augmentation_where_it_runs(
    technique: str, augments: bool
) -> None:
    files = fingerprints([technique])
    assert f"model/finetune/{technique}.py" in files
    assert ("model/training/augment.py" in files) == ("model/training/augment_colour.py" in files) == augments


def test_the_fingerprint_ignores_comments_and_docstrings_and_sees_every_other_change(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1  # one\n')
    first = fingerprint(file)
    file.write_text('"""Other."""\n\n\ndef f(x):\n    """Words."""\n    # more\n    return (x + 1)\n')
    assert fingerprint(file) == first
    file.write_text("def f(x):\n    return x + 2\n")
    assert fingerprint(file) != first


@pytest.mark.parametrize(
    ("methods", "message"), [({"a": {}}, "methods.b"), ({"b": {"nope": {}}}, "unknown technique 'nope'")]
)
def test_plan_names_an_unknown_method_or_technique(tmp_path: Path, methods: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        plan(write_params(tmp_path / "params.yaml", methods=methods), "b", tmp_path / "b.json")


@pytest.mark.parametrize("name", ["source.safetensors", "source.pt", "source.pkl"])
def test_pretrained_takes_our_files_and_foreign_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    generator, judge, path = tiny_generator(), Discriminator(DiscriminatorConfig(32, 256, 16)), Path(name)
    if path.suffix == ".safetensors":
        save_networks(path, generator=generator, discriminator=judge, provenance={})
    elif path.suffix == ".pt":
        write_rosinality(path, generator, judge)
    else:
        write_torch(path, generator, judge)
    asked = {"weights": name, "sha256": sha256_file(path), "resolution": 32, "licence": "x"}
    pretrained(write_params(tmp_path / "params.yaml", pretrained=asked), tmp_path / "out")
    verify_manifest(tmp_path / "out")
    again = load_generator(tmp_path / "out" / "networks.safetensors")
    assert torch.equal(again.synthesis.const, generator.synthesis.const)


def test_pretrained_names_what_is_missing_or_wrong_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"weights": "weights/ffhq256.pt", "sha256": "", "resolution": 256, "licence": "x"}
    params = write_params(tmp_path / "params.yaml", pretrained=asked)
    with pytest.raises(
        MissingInputError, match=r"pretrained\.weights: weights/ffhq256\.pt does not exist; put it there"
    ):
        pretrained(params, tmp_path / "out")
    save_networks(Path("g.safetensors"), generator=tiny_generator(), provenance={})
    for change, message in [
        ({"weights": "g.safetensors"}, "discriminator"),
        ({"weights": "g.safetensors", "sha256": "0" * 64}, "sha256 is"),
        ({"weights": "asset:nothing"}, "no such shipped weights|missing"),
    ]:
        write_params(params, pretrained={**asked, **change})
        with pytest.raises((UsageError, MissingInputError), match=message):
            pretrained(params, tmp_path / "out")
    assert not (tmp_path / "out").exists()
