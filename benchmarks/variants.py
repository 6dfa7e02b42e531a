"""Variants of our own training step against the plain one: processor seconds on one thread, paired, by phase.

    python -m benchmarks.variants --config 64 --repeats 9 --json OUT.json
    python -m benchmarks.variants --config 256 --repeats 1 --no-warm-up --only structure_loss bf16

The loop itself runs (``model.training.trainer``), with real batches, augmentation off and on, and the finite check.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.train_step import CONFIGS, PHASES, Config, environment, processor_seconds
from model.data.dataset import ArrayImages
from model.finetune import load_method
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.training.config import TrainConfig
from model.training.trainer import Trainer

PLAIN = "plain"
STRUCTURE = {"space": "rgb", "resolutions": [4, 8, 16], "weight": 1.0, "reduction": "sum"}
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    PLAIN: {},
    "structure_loss": {"structure_loss": STRUCTURE},
    "freeze_style": {"freeze_style": {"coarse_ws": 4}},
    "augment p 0": {"augment": {"p": 0.0, "transforms": "bgc"}},
    "augment p 0.3": {"augment": {"p": 0.3, "transforms": "bgc"}},
    "bf16": {},
    "two parts": {},
}  # fmt: skip


def trainer_of(config: Config, variant: str) -> Trainer:
    """A trainer of random networks on random images."""
    torch.manual_seed(0)
    size, batch = config.generator.resolution, config.batch
    nets = Networks.from_source(Generator(config.generator), Discriminator(config.discriminator))
    nets.compute_in(torch.bfloat16 if variant == "bf16" else None)
    images = np.random.default_rng(0).integers(0, 256, (4 * batch, size, size, 3), dtype=np.uint8)
    settings = TrainConfig(
        kimg=1.0, batch=batch, tick_kimg=1.0, lr_g=0.002, lr_d=0.002, r1_gamma=1.0, r1_every=16, path_weight=2.0,
        path_every=4, path_shrink=2, path_decay=0.01, mixing_prob=0.9, ema_kimg=10.0,
    )  # fmt: skip
    trainer = Trainer(nets, ArrayImages(images), settings, load_method(METHODS[variant]), 0)
    if variant == "two parts":
        trainer.take_in_parts(2)
    return trainer


def phases_of(trainer: Trainer) -> dict[str, Callable[[], None]]:
    """The parts of a training step, by the names of ``benchmarks.train_step``."""

    def reals() -> list[torch.Tensor]:
        return trainer.reals.batch(trainer.iteration, trainer.shares, trainer.nets.ema.w_avg)

    return {
        "d": lambda: trainer._d_main(reals()), "g": trainer._g_main, "r1": lambda: trainer._d_r1(reals()),
        "pl": trainer._g_path, "ema": trainer._average,
    }  # fmt: skip


def measure(trainers: dict[str, Trainer], repeats: int, warm: bool) -> dict[str, dict[str, list[float]]]:
    """Time every phase of every variant in turn, the order alternating: seconds by variant and phase."""
    phases = {name: phases_of(trainer) for name, trainer in trainers.items()}
    if warm:
        for works in phases.values():
            for work in works.values():
                work()
    seconds: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in PHASES} for name in trainers}
    for repeat in range(repeats):
        for phase in PHASES:
            for name in list(trainers)[:: 1 if repeat % 2 == 0 else -1]:
                trainers[name].iteration = repeat  # the same draws for all
                seconds[name][phase].append(processor_seconds(phases[name][phase]))
    return seconds


def summary(seconds: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Ratios to the plain step, median with smallest and largest, by variant and phase; iteration is amortised."""
    for rows in seconds.values():
        repeats = range(len(rows["d"]))
        rows["iteration"] = [sum(rows[phase][i] * share for phase, share in PHASES.items()) for i in repeats]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, rows in seconds.items():
        table[name] = {}
        for phase, values in rows.items():
            ratios = [a / max(b, 1e-9) for a, b in zip(values, seconds[PLAIN][phase], strict=True)]
            table[name][phase] = {
                "seconds": statistics.median(values), "ratio": statistics.median(ratios), "min": min(ratios),
                "max": max(ratios),
            }  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", choices=sorted(CONFIGS), default="64")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--no-warm-up", action="store_true", help="for configurations that take minutes")
    parser.add_argument("--only", nargs="+", choices=sorted(METHODS), help="variants beside the plain step")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = CONFIGS[arguments.config]
    chosen = [name for name in METHODS if name == PLAIN or not arguments.only or name in arguments.only]
    trainers = {name: trainer_of(config, name) for name in chosen}
    seconds = measure(trainers, arguments.repeats, not arguments.no_warm_up)
    table = summary(seconds)
    checked = [processor_seconds(trainers[PLAIN].check_finite) for _ in range(20)]
    share = statistics.median(checked) / 16 / table[PLAIN]["iteration"]["seconds"]
    print(f"{config.title}; one thread, processor time, {arguments.repeats} paired repeats, torch {torch.__version__}")
    print(f"finite check: {share:.1e} of an iteration")
    print("| time over the plain step's | " + " | ".join((*PHASES, "iteration")) + " | min - max |")
    print("|---|" + "---|" * (len(PHASES) + 2))
    for name, row in table.items():
        cells = [f"x{row[phase]['ratio']:.2f}" for phase in (*PHASES, "iteration")]
        whole = row["iteration"]
        print(f"| {name} | " + " | ".join(cells) + f" | {whole['min']:.2f} - {whole['max']:.2f} |")
    if arguments.json:
        result = environment() | {"config": config.title, "repeats": arguments.repeats, "finite_check_share": share}
        arguments.json.write_text(json.dumps(result | {"variants": table, "seconds": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
