"""What a technique adds to the generator's step: with and without it, processor seconds on one thread, paired.

python -m benchmarks.structure_loss --config 64 --repeats 9 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch

from benchmarks.train_step import CONFIGS, Config, environment, processor_seconds
from model.data.dataset import ArrayImages
from model.finetune import load_method
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.training.config import TrainConfig
from model.training.trainer import Trainer

METHODS = {
    "plain": {},
    "structure_loss": {
        "structure_loss": {"space": "rgb", "resolutions": [4, 8, 16], "weight": 1.0, "reduction": "sum"}
    },
    "freeze_style": {"freeze_style": {"coarse_ws": 4}},
}


def trainer_of(config: Config, method: str) -> Trainer:
    """A trainer of random networks on random images; only its generator step is timed."""
    torch.manual_seed(0)
    size, batch = config.generator.resolution, config.batch
    nets = Networks.from_source(Generator(config.generator), Discriminator(config.discriminator))
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    settings = TrainConfig(
        kimg=1.0, batch=batch, tick_kimg=1.0, lr_g=0.002, lr_d=0.002, r1_gamma=0.0, r1_every=16, path_weight=0.0,
        path_every=4, path_shrink=2, path_decay=0.01, mixing_prob=0.9, ema_kimg=10.0,
    )  # fmt: skip
    trainer = Trainer(nets, ArrayImages(images), settings, load_method(METHODS[method]), 0)
    trainer._g_main()  # warm up
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", choices=sorted(CONFIGS), default="64")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = CONFIGS[arguments.config]
    trainers = {name: trainer_of(config, name) for name in METHODS}
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for repeat in range(arguments.repeats):
        for name in list(METHODS)[:: 1 if repeat % 2 == 0 else -1]:
            trainers[name].iteration = repeat  # the same draws for all
            seconds[name].append(processor_seconds(trainers[name]._g_main))
    print(f"{config.title}; generator step, one thread, {arguments.repeats} paired repeats, torch {torch.__version__}")
    result = environment() | {"config": config.title, "repeats": arguments.repeats, "seconds": seconds}
    for name in METHODS:
        ratios = [a / b for a, b in zip(seconds[name], seconds["plain"], strict=True)]
        print(f"{name:16} {statistics.median(seconds[name]):7.3f} s  x{statistics.median(ratios):.3f} "
              f"({min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
        result[name] = {"ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
