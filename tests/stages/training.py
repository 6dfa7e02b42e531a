"""A whole training set-up at 32 px in a temporary folder: params, LMDB, source weights, plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from model.checkpoint.native import save_networks
from model.data.lmdb_write import Packing, write_lmdb
from model.files import publish_folder
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.training.trainer import Trainer
from pipeline.tracking import Run
from stages.plan import plan
from tests.finetune.test_techniques import METHODS
from tests.tiny import tiny_generator

TRAIN = {
    "kimg": 0.032, "batch": 4, "tick_kimg": 0.008, "lr_g": 0.002, "lr_d": 0.002, "r1_gamma": 1.0, "r1_every": 4,
    "path_weight": 2.0, "path_every": 2, "path_shrink": 2, "path_decay": 0.01, "mixing_prob": 0.9, "ema_kimg": 0.02,
    "sample_kimg": 0.016, "state_kimg": 0.008, "device": "cpu", "gpus": 1, "accumulate": 1, "precision": "fp32",
}  # fmt: skip
KINDS = {
    "weights": {"mix": "weights", "low": "source", "width": None, "mapping": "low"},
    "features": {"mix": "features", "low": "source", "rgb_skip": "source"},
}
SWAP = {
    "levels": [8, 16], "snapshots": ["kept"], "kinds": KINDS, "faces": 3, "truncation_psi": 0.7, "seed": 5,
}  # fmt: skip
SNAPSHOTS = {"kimg": 0.016, "images": 6, "keep": "best", "stop_below": 0.0, "patience": 1}


def write_params(path: Path, **changes: object) -> Path:
    """Write a params file whose sections can be replaced."""
    sections: dict[str, object] = {
        "profile": "test",
        "methods": METHODS,
        "seeds": {"s0": 0},
        "train": TRAIN,
        "snapshots": SNAPSHOTS,
        "swap": SWAP,
        "pretrained": {"weights": "source.safetensors", "sha256": "", "resolution": 32, "licence": "CC0-1.0"},
    }
    with path.open("w") as file:
        YAML().dump(sections | changes, file)
    return path


def write_source(folder: Path, resolution: int = 32) -> Path:
    """Write ``networks.safetensors`` of a random source, as the stage ``pretrained`` does."""
    with publish_folder(folder) as out:
        save_networks(
            out / "networks.safetensors",
            generator=tiny_generator(0, resolution),
            discriminator=Discriminator(DiscriminatorConfig(resolution, 256, 16)),
            provenance={"made": "at random"},
        )
    return folder


def write_images(folder: Path, n: int = 8, resolution: int = 32) -> Path:
    """Write ``train`` and ``heldout`` LMDBs of random images."""
    random = np.random.default_rng(0)
    with publish_folder(folder) as out:
        for part in ("train", "heldout"):
            images = [random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8) for _ in range(n)]
            write_lmdb(out / part, images, [f"{part}{i}" for i in range(n)], Packing([resolution], "png", workers=1))
    return folder


def new_run(folder: Path) -> Run:
    """Return a tracking run that is never mirrored."""
    return Run(folder / "journal" / str(len(list((folder / "journal").glob("*")))))


class Setup:
    """The inputs of the stage ``train``, in ``folder``."""

    def __init__(self, folder: Path, method: str = "structure_loss", images: int = 8, **changes: object) -> None:
        self.folder, self.changes = folder, changes
        folder.mkdir(exist_ok=True)
        self.params = write_params(folder / "params.yaml", **changes)
        self.source = write_source(folder / "source")
        self.lmdb = write_images(folder / "lmdb" / "flat", images)
        self.plan = folder / f"{method}.json"
        self.scratch, self.out = folder / "scratch", folder / "train"
        plan(self.params, method, self.plan)

    def write(self, **changes: object) -> None:
        """Write the params file anew."""
        write_params(self.params, **{**self.changes, **changes})

    def arguments(self) -> dict[str, object]:
        """Return the arguments of ``stages.train.train``."""
        return {
            "params": self.params, "plan": self.plan, "lmdb": self.lmdb, "source": self.source, "seed": "s0",
            "scratch": self.scratch, "out": self.out,
        }  # fmt: skip


@contextmanager
def power_cut(iteration: int) -> Iterator[None]:
    """Let every training in the block die at this iteration; the block must run into it."""
    step = Trainer.step

    def failing(trainer: Trainer) -> None:
        if trainer.iteration == iteration:
            raise RuntimeError("power cut")
        step(trainer)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(Trainer, "step", failing)
        yield
