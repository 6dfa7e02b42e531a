"""New images for a dataset with a champion: stages, registry and the measuring process as they are, networks tiny."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from model.checkpoint.native import save_networks
from model.data.lmdb_write import Packing, write_lmdb
from model.files import publish_folder, verify_manifest, write_manifest
from pipeline.champions.candidates import read_contests
from pipeline.champions.models import Model
from pipeline.champions.registry import consider
from stages.compare import compare
from stages.swap import swap
from tests.champions.contests import RULES
from tests.measuring.bench import Bench
from tests.stages.training import SWAP, new_run, write_params
from tests.tiny import tiny_generator

pytestmark = pytest.mark.slow
WIDE = {"alarm": 0.0, "fail": 0.0}
COMPARE = {
    "baseline": "baseline", "similarity": ["landmark_nme", "attribute_mse"], "max_style_ratio": 1e6, "resamples": 100,
    "confidence": 0.95,
}  # fmt: skip


class Project(Bench):
    """A project whose stages have run: profile demo, dataset flat, one training."""

    def __init__(self, root: Path) -> None:
        work, name = root / "work" / "demo", "baseline-flat-s0"
        work.mkdir(parents=True)
        gates = {"nn_ratio": WIDE, "variety": WIDE}
        super().__init__(work, "baseline", gates=gates, path_length=0)
        self.root, self.params = root, root / "params.yaml"
        (root / "dvc.yaml").write_text("stages: {}\n")
        write_params(
            self.params, profile="demo", datasets={"flat": {}}, evaluate=self.settings, compare=COMPARE,
            champion=RULES | {"when_changed": "measure"}, swap=SWAP,
        )  # fmt: skip
        self.trained = work / "trained"
        shutil.rmtree(self.swaps)
        (work / "train").mkdir()
        self.trained = self.trained.rename(work / "train" / name)
        self.swaps = work / "swap" / name

    def stages(self, target: int) -> None:
        """Run everything after a training that tuned the generator number ``target``."""
        manifest = verify_manifest(self.trained)
        for name in ("generator", "snapshots/00001000"):
            save_networks(self.trained / f"{name}.safetensors", generator=tiny_generator(target), provenance={})
        write_manifest(self.trained, {key: value for key, value in manifest.items() if key != "files"})
        record = new_run(self.folder)
        swap(self.params, self.source, self.trained, self.swaps, record)
        self.run()
        data = self.root / "reports" / "demo" / "data"
        compare(self.params, self.out.parent, self.trained.parent, data, record)

    def new_images(self, seed: int) -> None:
        """Pack others than there were."""
        random = np.random.default_rng(seed)
        with publish_folder(self.lmdb) as out:
            for part in ("train", "heldout"):
                images = random.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
                write_lmdb(out / part, list(images), [f"{part}{i}" for i in range(16)], Packing([32], "png", workers=1))


def test_a_champion_is_measured_on_new_images_as_their_own_evaluation_would_measure_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setenv("CARTOON_TRACKING", "journal")
    project = Project(tmp_path)
    project.stages(target=1)
    (first,) = consider(tmp_path, "demo")
    assert first.state == "first"
    project.new_images(seed=7)
    project.stages(target=2)
    (verdict,) = consider(tmp_path, "demo")
    assert verdict.state in ("promoted", "kept"), verdict.why
    assert "version 1 was measured with another dataset, and again with today's" in verdict.why
    address = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    version = Model(MlflowClient(address, registry_uri=address), "cartoon-demo-flat").version(1)
    assert version is not None
    (noted,) = [json.loads(value) for tag, value in version.tags.items() if tag.startswith("measured.")]
    project.stages(target=1)  # the champion's training, were it of today
    (contest,) = read_contests(tmp_path, "demo", ("pass", "alarm"))
    (own,) = [one for one in contest.candidates if one.sha256 == version.tags["sha256"]]
    assert noted["basis"] == contest.basis
    assert noted["numbers"] == vars(own.numbers)
    assert noted["gates"] == own.gates
