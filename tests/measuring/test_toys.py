"""Toy generators, measured by the stage itself: one that copies, one that repeats itself, an honest one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.data.images import UInt8, from_uint8
from model.data.lmdb_write import Packing, write_lmdb
from model.files import publish_folder
from stages.measuring.drawing import Cells, Picture
from tests.measuring.bench import Bench, Pixels

pytestmark = pytest.mark.slow

Toy = Callable[[np.random.Generator], UInt8]


def face(random: np.random.Generator) -> UInt8:
    """Draw something smooth with a dozen degrees of freedom, ``[32, 32, 3]``."""
    coarse = random.normal(128.0, 45.0, (2, 2, 3)).repeat(16, axis=0).repeat(16, axis=1)
    return np.clip(coarse, 0, 255).astype(np.uint8)


def write_faces(folder: Path, train: list[UInt8], heldout: list[UInt8]) -> None:
    with publish_folder(folder) as out:
        for part, images in (("train", train), ("heldout", heldout)):
            write_lmdb(out / part, images, [f"{part}{i}" for i in range(len(images))], Packing([32], "png", workers=1))


class ToyBench(Bench):
    """A training whose snapshot draws as a toy does; swapping anything changes nothing."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, path_length=0, seed=seed, images=128, likeness=[])
        random = np.random.default_rng(seed)
        self.train = [face(random) for _ in range(60)]
        write_faces(self.lmdb, self.train, [face(random) for _ in range(40)])

    def judge(self, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        def draw(cells: Cells, snapshot: str, z: Tensor, paired: bool) -> Iterator[Picture]:
            seeds = (z.double().sum(dim=1) * 1e6).long().abs().tolist()
            images = np.stack([toy(np.random.default_rng(seed)) for seed in seeds])
            tensors = from_uint8(images)
            for cell in cells.names(snapshot)[:1]:
                yield cell, tensors if paired else None, tensors

        with monkeypatch.context() as patch:
            patch.setattr(Cells, "draw", draw)
            patch.setattr(Cells, "names", lambda cells, snapshot: NAMES(cells, snapshot)[:1])
            rows: list[dict[str, Any]] = self.evaluate()["cells"]
        return rows


NAMES = Cells.names


def memoriser(train: list[UInt8]) -> Toy:
    def toy(random: np.random.Generator) -> UInt8:
        image = train[random.integers(len(train))].astype(np.int64) + random.integers(-2, 3, (32, 32, 3))
        return np.clip(image, 0, 255).astype(np.uint8)

    return toy


def collapsed(random: np.random.Generator) -> UInt8:
    """Draw one of three faces with a little noise."""
    mode = face(np.random.default_rng(10_000 + int(random.integers(3))))
    return np.clip(mode.astype(np.int64) + random.integers(-2, 3, (32, 32, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def _pixels(opened: dict[str, Any]) -> None:
    opened["stylenet"] = Pixels("stylenet-00000000")


def test_copying_and_collapse_are_flagged_for_every_seed_and_honesty_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    wronged = 0
    for seed in (0, 1, 2):
        bench = ToyBench(tmp_path / str(seed), seed)
        bench.refer()
        (copies,) = bench.judge(memoriser(bench.train), monkeypatch)
        assert copies["gate_memorisation"] == "fail", seed
        (same,) = bench.judge(collapsed, monkeypatch)
        assert same["gate_collapse"] == "fail", seed
        (honest,) = bench.judge(face, monkeypatch)
        wronged += (honest["gate_memorisation"], honest["gate_collapse"]) != ("pass", "pass")
    assert wronged == 0


def test_the_gallery_shows_the_copies_of_a_memoriser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}

    def spy(distances: list[float], generated: UInt8, training: UInt8, extractor: str) -> UInt8:
        shown.update(distances=distances, generated=generated, training=training)
        return generated[0]

    monkeypatch.setattr("stages.measuring.measure.nearest", spy)
    bench = ToyBench(tmp_path / "toy", 3)
    bench.refer()
    bench.judge(memoriser(bench.train), monkeypatch)
    assert len(shown["generated"]) == 16
    assert shown["distances"] == sorted(shown["distances"])
    apart = np.abs(shown["generated"].astype(int) - shown["training"]).max(axis=(1, 2, 3))
    assert apart.max() <= 2  # each beside the image that it is a copy of
