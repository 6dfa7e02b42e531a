"""What the benchmarks compare is comparable."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
import torch

from benchmarks.prepare import OURS, TEXTBOOK, make_pictures
from benchmarks.sweep import SWEEPS, WAYS, bench_of
from benchmarks.sweep import measure as measure_sweep
from benchmarks.textbook import TextbookDiscriminator, TextbookGenerator, assert_same_function
from benchmarks.train_step import CONFIGS
from benchmarks.variants import METHODS, PLAIN, measure, summary, trainer_of
from model.data.images import decode_image
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig

ROOT = Path(__file__).resolve().parents[1]
G_CONFIG = GeneratorConfig(16, 16, 16, 2, 256, 16)
D_CONFIG = DiscriminatorConfig(16, 256, 16)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_our_networks_and_the_textbooks_compute_the_same_pictures_and_logits() -> None:
    torch.manual_seed(0)
    generator, discriminator = Generator(G_CONFIG), Discriminator(D_CONFIG)
    assert max(assert_same_function(generator, discriminator, batch=4)) < 1e-4
    assert parameters(TextbookGenerator(generator)) == parameters(generator)
    assert parameters(TextbookDiscriminator(discriminator)) == parameters(discriminator)


@torch.no_grad()
@pytest.mark.parametrize("name", SWEEPS)
def test_every_way_of_a_sweep_draws_the_same_pictures(name: str) -> None:
    bench = bench_of(G_CONFIG, batch=2)
    asked, ways = SWEEPS[name], {way: WAYS[way](bench, SWEEPS[name]) for way in ("both", "alone", "shared")}
    assert {len(images) for images in ways.values()} == {len(asked) * len(bench.levels)}
    for way in ("both", "alone"):
        assert all(torch.equal(a, b) for a, b in zip(ways[way], ways["shared"], strict=True)), way
    assert measure_sweep(bench, asked, repeats=1, warm=False)["bit_identical"]


def test_variants_of_the_step_run_every_phase_of_the_loop_and_are_compared_with_the_plain_one() -> None:
    config = dataclasses.replace(CONFIGS["16"], batch=8)
    trainers = {name: trainer_of(config, name) for name in METHODS}
    assert trainers["two parts"].accumulate == 2
    assert trainers["bf16"].nets.discriminator.activations == torch.bfloat16
    table = summary(measure(trainers, 1, warm=False))
    assert {row["iteration"]["ratio"] for name, row in table.items() if name == PLAIN} == {1.0}
    assert all(row["pl"]["seconds"] > 0 for row in table.values())
    assert all(trainer.mean_path > 0 for trainer in trainers.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "apart"), [("png", 0.0), ("jpeg", 3.0)]
)  # ours keeps all colour, textbooks a quarter
def test_both_preparers_write_the_same_keys_and_pictures(tmp_path: Path, codec: str, apart: float) -> None:
    make_pictures(tmp_path / "pictures", 6)
    contents = []
    for name, code in (("textbook", TEXTBOOK), ("ours", OURS)):
        command = [sys.executable, "-c", code, str(tmp_path / "pictures"), str(tmp_path / name), "256", codec]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        with lmdb.open(str(tmp_path / name), readonly=True, lock=False) as env, env.begin() as transaction:
            contents.append({bytes(key): bytes(value) for key, value in transaction.cursor()})
    contents[1].pop(b"meta")
    assert contents[0].keys() == contents[1].keys()
    for key in contents[0].keys() - {b"length"}:
        first, second = (decode_image(io.BytesIO(content[key]), "record").astype(int) for content in contents)
        assert abs(first - second).mean() <= apart
