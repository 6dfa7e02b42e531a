"""Inputs of the stages ``reference`` and ``evaluate``, made without training, and networks to count with."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint.native import save_networks
from model.files import publish_folder, verify_manifest, write_manifest
from model.metrics.extractors.base import Floats, Images
from model.metrics.extractors.shipped import AttributeFeatures
from model.metrics.features import AttributeReader, StyleFeatures
from model.metrics.fit import attribute_net, style_net, write_asset
from stages.evaluate import evaluate
from stages.reference import reference
from stages.swap import swap
from tests.finetune.test_techniques import METHODS
from tests.metrics.standin import probe_set
from tests.stages.training import SWAP, new_run, write_images, write_params, write_source
from tests.tiny import tiny_generator

SETTINGS: dict[str, Any] = {
    "images": 70, "pairs": 20, "seed": 11, "device": "cpu", "style": ["stylenet"], "likeness": ["attributenet"],
    "diversity": "stylenet", "on_missing": "error", "path_length": 3,
    "gates": {"nn_ratio": {"alarm": 0.7, "fail": 0.4}, "variety": {"alarm": 0.7, "fail": 0.4}},
    "tiles": {"first": 3, "random": 1, "worst": 1},
}  # fmt: skip


class Bench:
    """One training's folders, ready to be measured."""

    def __init__(self, folder: Path, method: str = "baseline", **settings: object) -> None:
        self.folder, self.method, self.settings = folder, method, SETTINGS | settings
        folder.mkdir(exist_ok=True)
        self.params = write_params(folder / "params.yaml", evaluate=self.settings)
        self.source = write_source(folder / "source")
        self.lmdb = write_images(folder / "lmdb" / "flat", n=16)
        self.trained = self._trained()
        self.swaps, self.reference = folder / "swap", folder / "reference" / "flat"
        self.out = folder / "evaluate" / f"{method}-flat-s0"
        swap(self.params, self.source, self.trained, self.swaps, new_run(folder))

    def _trained(self) -> Path:
        details = {
            "method": self.method, "dataset": "flat", "seed": "s0", "techniques": METHODS[self.method],
            "snapshots": [{"kimg": 1.0, "file": "snapshots/00001000.safetensors"}], "kept": {"kimg": 1.0, "why": ""},
            "best": 1.0, "last": 1.0,
        }  # fmt: skip
        with publish_folder(self.folder / "trained", details) as folder:
            target = tiny_generator(1)
            if self.method == "freeze_g":  # its mapping network never trains
                target.mapping.load_state_dict(tiny_generator(0).mapping.state_dict())
            for name in ("generator", "snapshots/00001000"):
                save_networks(folder / f"{name}.safetensors", generator=target, provenance={})
        return self.folder / "trained"

    def two_snapshots(self, **changes: object) -> Bench:
        """Give the training a second snapshot, and swap three names that mean the two."""
        manifest = verify_manifest(self.trained)
        details = {name: manifest[name] for name in ("method", "dataset", "seed", "techniques", "kept", "best")}
        files = [{"kimg": kimg, "file": f"snapshots/0000{kimg}000.safetensors"} for kimg in (1, 2)]
        save_networks(self.trained / files[1]["file"], generator=tiny_generator(2), provenance={})
        write_manifest(self.trained, details | {"last": 2, "snapshots": files})
        swept = {**SWAP, "levels": [8], "snapshots": ["best", "last", 2], **changes}
        self.params = write_params(self.params, evaluate=self.settings, swap=swept)
        swap(self.params, self.source, self.trained, self.swaps, new_run(self.folder))
        return self

    def set(self, **settings: object) -> None:
        """Change settings of section evaluate."""
        self.settings |= settings
        write_params(self.params, evaluate=self.settings)

    def refer(self) -> dict[str, Any]:
        """Run the stage ``reference`` and return its report."""
        reference(self.params, self.lmdb, self.reference, new_run(self.folder))
        report: dict[str, Any] = json.loads((self.reference / "reference.json").read_text())
        return report

    def evaluate(self) -> dict[str, Any]:
        """Run the stage ``evaluate`` and return its metrics."""
        self.record = new_run(self.folder)
        folders = (self.reference, self.lmdb, self.source, self.trained, self.swaps)
        evaluate(self.params, *folders, self.out, self.record)
        metrics: dict[str, Any] = json.loads((self.out / "metrics.json").read_text())
        return metrics

    def run(self) -> dict[str, Any]:
        """Run both."""
        self.refer()
        return self.evaluate()


class Counting:
    """A measuring network that counts every picture shown to it: features, by content."""

    seen: Counter[str]

    def __init__(self, inner: Any) -> None:
        self.inner, self.seen = inner, Counter()
        self.name, self.dim = inner.name, inner.dim
        self.weights_sha256, self.preprocess_id = inner.weights_sha256, inner.preprocess_id

    def __call__(self, images: Images) -> Floats:
        self.seen.update(hashlib.sha256(image.tobytes()).hexdigest() for image in images)
        features: Floats = self.inner(images)
        return features


class Pixels:
    """Colours of a coarse grid as features: no network, so what is alike is known without one."""

    dim, preprocess_id, weights_sha256 = 48, "pixels-v1", "0" * 64

    def __init__(self, name: str = "pixels-00000000") -> None:
        self.name = name

    def __call__(self, images: Images) -> Floats:
        n, size = len(images), images.shape[1] // 4
        return images.reshape(n, 4, size, 4, size, 3).mean(axis=(2, 4)).reshape(n, -1).astype(np.float32) / 255.0


def untrained(folder: Path) -> dict[str, Any]:
    """Return the shipped kinds of networks with random weights: these tests are about stages, not about faces."""
    torch.manual_seed(0)
    data = probe_set(20)
    write_asset(folder / "style_net.safetensors", style_net(data), data, {})
    write_asset(folder / "attribute_net.safetensors", attribute_net(data), data, {})
    write_manifest(folder)
    return {"stylenet": StyleFeatures(folder), "attributenet": AttributeFeatures(AttributeReader(folder))}
