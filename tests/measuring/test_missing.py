"""What the stages say of measuring networks whose weights are not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from model.errors import MissingInputError
from model.metrics.extractors.base import Floats, Images
from stages.measuring import instruments
from tests.measuring.bench import SETTINGS, Bench, Pixels
from tests.stages.training import write_params

pytestmark = pytest.mark.slow

ROOT = Path(instruments.__file__).parents[2]
LOCK = {
    name: {
        "file": f"weights/{name}.pth", "addresses": [], "bytes": 95_628_359, "sha256": None, "licence": "x",
        "about": "y",
    }
    for name in ("inception_2015", "vgg16", "lpips_vgg", "dinov2_b14", "mobilefacenet", "yunet")
}  # fmt: skip


class Distance:
    """Mean difference of colours as a distance of pairs."""

    name, preprocess_id, weights_sha256 = "lpips_vgg-00000000", "none-v1", "1" * 64

    def __call__(self, first: Images, second: Images) -> np.ndarray:
        return np.abs(first.astype(np.float64) - second).mean(axis=(1, 2, 3)) / 255.0

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        return (first - second).square().mean(dim=(1, 2, 3))


class Places(Pixels):
    """The colours of the grid's places, too."""

    def patches(self, images: Images) -> Floats:
        return self(images).reshape(len(images), 16, 3)


class Identity:
    """Sees a face in bright pictures only."""

    name, preprocess_id, weights_sha256 = "arcface-00000000", "none-v1", "2" * 64

    def __call__(self, images: Images) -> tuple[Floats, np.ndarray]:
        means = images.reshape(len(images), -1, 3).mean(axis=1).astype(np.float32) + 1.0
        found = means.mean(axis=1) > np.median(means.mean(axis=1))
        return np.where(found[:, None], means / np.linalg.norm(means, axis=1, keepdims=True), 0.0).astype("f4"), found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root whose lock names weights that are not here. JSON is YAML."""
    (tmp_path / "weights.lock.yaml").write_text(json.dumps({"extractors": LOCK}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arrive(home: Path, *names: str) -> None:
    for name in names:
        path = home / "weights" / f"{name}.pth"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.truncate(95_628_359)  # a hole: takes no room


@pytest.mark.parametrize("stage", ["reference", "evaluate"])
def test_a_stage_ends_before_torch_is_loaded_or_an_input_is_read(home: Path, stage: str) -> None:
    write_params(home / "params.yaml", evaluate=SETTINGS | {"style": ["inception"], "likeness": ["lpips_vgg"]})
    nowhere = {"reference": ["lmdb"], "evaluate": ["reference", "lmdb", "source", "trained", "swaps"]}[stage]
    flags = [part for name in nowhere for part in (f"--{name}", f"nowhere/{name}")]
    command = [sys.executable, "-X", "importtime", "-m", f"stages.{stage}", "--params", "params.yaml", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTOON_TRACKING": "journal"}
    done = subprocess.run(
        [*command, "--out", "out/a"], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    (said,) = [line for line in lines if "error:" in line]
    assert done.returncode == MissingInputError.exit_code
    assert "fid[inception] needs inception_2015 (95.6 MB), which is not here (weights/inception_2015.pth)" in said
    assert "`cartoon-pipeline weights fetch inception_2015`" in said
    assert ("lpips[lpips_vgg] needs vgg16" in said) == (stage == "evaluate")
    assert "stages.measuring.instruments" in imported
    assert not imported & {"torch", "scipy", "pandas", "timm", "torchvision"}
    assert not (home / "out").exists()


def test_a_network_that_ranks_is_missed_even_where_others_are_skipped(opened: dict[str, Any], home: Path) -> None:
    bench = Bench(home / "bench", style=["inception", "stylenet"], on_missing="skip")
    with pytest.raises(MissingInputError, match=r"inception_2015.*ranks, so it is not skipped"):
        bench.refer()


def test_skipped_networks_have_no_number_anywhere_but_a_reason(opened: dict[str, Any], home: Path) -> None:
    bench = Bench(
        home / "bench", style=["stylenet", "inception"], likeness=["arcface", "attributenet", "dinov2_b14"],
        diversity="lpips_vgg", on_missing="skip",
    )  # fmt: skip
    metrics = bench.run()
    for absent in ("inception", "arcface", "dinov2_b14", "lpips_vgg"):
        assert not [name for row in metrics["cells"] for name in row if f"[{absent}" in name]
    reasons = {row["metric"]: row["reason"] for row in metrics["not_run"]}
    for metric in (
        "fid[inception]",
        "arcface_cos[arcface]",
        "selfsim[dinov2_b14]",
        "variety[lpips_vgg]",
        "ppl[lpips_vgg]",
    ):
        assert "is not here" in reasons[metric] or "are not here" in reasons[metric]
        assert "dvc repro --single-item --force reference@flat" in reasons[metric]
        assert "evaluate@baseline-flat-s0" in reasons[metric]
    assert {row["gate_collapse"] for row in metrics["cells"]} == {None}  # nothing says whether it collapsed
    assert {row["gate_memorisation"] for row in metrics["cells"]} <= {"pass", "alarm", "fail"}
    assert json.loads((bench.out / "picks.json").read_text())["by"] == "landmark_nme"
    assert "evaluate@" not in json.dumps(json.loads((bench.reference / "reference.json").read_text()))


def test_weights_that_came_after_the_reference_was_taken_are_asked_to_be_taken_again(
    opened: dict[str, Any], home: Path
) -> None:
    bench = Bench(home / "bench", style=["stylenet", "inception"], on_missing="skip", path_length=0)
    bench.refer()
    opened["inception"] = Pixels("inception-00000000")
    arrive(home, "inception_2015")
    reasons = {row["metric"]: row["reason"] for row in bench.evaluate()["not_run"]}
    assert reasons["ppl"] == "evaluate.path_length is 0"
    assert "no features of real images by inception-00000000" in reasons["fid[inception]"]
    assert "dvc repro --single-item --force reference@flat" in reasons["fid[inception]"]
    bench.set(on_missing="error")
    with pytest.raises(MissingInputError, match=r"no features of real images by inception-00000000"):
        bench.evaluate()
    bench.refer()
    assert "fid70[inception-00000000]" in bench.evaluate()["cells"][0]


@pytest.fixture
def every(opened: dict[str, Any], home: Path) -> Iterator[dict[str, Any]]:
    """Stand-ins for one network of every role."""
    opened |= {
        "inception": Pixels("inception-00000000"), "dinov2_b14": Places("dinov2_b14-00000000"), "lpips_vgg": Distance(),
        "arcface": Identity(),
    }  # fmt: skip
    arrive(home, *LOCK)
    yield opened


def test_every_role_gives_its_measures_under_its_own_name(every: dict[str, Any], home: Path) -> None:
    bench = Bench(
        home / "bench", style=["inception", "dinov2_b14"], likeness=["dinov2_b14", "lpips_vgg", "arcface"],
        diversity="lpips_vgg",
    )  # fmt: skip
    metrics = bench.run()
    assert metrics["style"] == "inception-00000000"
    assert {path.stem for path in bench.reference.glob("*.safetensors")} == {
        "inception-00000000", "dinov2_b14-00000000"
    }  # fmt: skip
    for row in metrics["cells"]:
        for name in ("kid70_x1e3[inception-00000000]", "fid70[dinov2_b14-00000000]", "cos[dinov2_b14-00000000]",
                     "selfsim_lift[dinov2_b14-00000000]", "lpips_own[lpips_vgg-00000000]",
                     "variety[lpips_vgg-00000000]",
                     "face_detect_rate[arcface-00000000]", "retrieval_top1[dinov2_b14-00000000]"):  # fmt: skip
            assert isinstance(row[name], float), name
        assert "landmark_nme" not in row
    assert isinstance(metrics["cells"][0]["ppl[lpips_vgg-00000000]"], float)
    assert json.loads((bench.out / "picks.json").read_text())["by"] == "cos[dinov2_b14-00000000]"
    roles = {(row["role"], row["kind"]) for row in metrics["instruments"]}
    assert roles >= {("style", "inception"), ("likeness", "arcface"), ("diversity", "lpips_vgg")}
