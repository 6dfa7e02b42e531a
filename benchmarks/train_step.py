"""One training iteration by phase, ours against the textbook: processor seconds on one thread, paired and alternated.

    python -m benchmarks.train_step --config 64 --repeats 5 --json OUT.json

Both sides run the code below on networks that compute the same function (checked first, to 1e-4), with the same losses,
batch, lazy regularisation and kind of optimiser. They differ in what the project chose: the form of the networks, the
fused Adam and the grouped average. Augmentation is off on both sides; ours is timed alone. ``--keep-memory``
lets both keep the memory of freed tensors, as our trainings do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.textbook import TextbookDiscriminator, TextbookGenerator, assert_same_function
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.ops.memory import keep_freed_memory
from model.training.augment import augment
from model.training.losses import discriminator_loss, generator_loss, path_lengths, r1_penalty


@dataclass(frozen=True)
class Config:
    """What is trained."""

    title: str
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int


CONFIGS = {
    "64": Config(
        "64 px, at most 128 channels (channel_base 4096), mapping 8 x 512, batch 8",
        GeneratorConfig(64, 512, 512, 8, 4096, 128), DiscriminatorConfig(64, 4096, 128), 8,
    ),
    "256": Config(
        "256 px, config-f (channel_base 32768, at most 512 channels), mapping 8 x 512, batch 2",
        GeneratorConfig(256, 512, 512, 8, 32768, 512), DiscriminatorConfig(256, 32768, 512), 2,
    ),
    "16": Config(
        "16 px, at most 32 channels, batch 4 (a check that this program runs)",
        GeneratorConfig(16, 32, 32, 2, 512, 32), DiscriminatorConfig(16, 512, 32), 4,
    ),
}  # fmt: skip
PHASES = {"d": 1.0, "g": 1.0, "r1": 1 / 16, "pl": 1 / 4, "ema": 1.0}  # share of the iterations that run each


class Side:
    """One implementation in training: networks, optimisers, average, and the phases of an iteration."""

    def __init__(self, name: str, config: Config) -> None:
        torch.manual_seed(0)
        generator, discriminator = Generator(config.generator), Discriminator(config.discriminator)
        self.name, self.config, ours = name, config, name == "ours"
        self.g: nn.Module = generator if ours else TextbookGenerator(generator)
        self.d: nn.Module = discriminator if ours else TextbookDiscriminator(discriminator)
        self.average = [p.detach().clone() for p in self.g.parameters()]
        extra = {"fused": True} if ours else {}
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), 2e-3, (0.0, 0.99), **extra)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), 2e-3, (0.0, 0.99), **extra)
        self.random = torch.Generator().manual_seed(1)
        size = config.generator.resolution
        self.reals = torch.rand(config.batch, 3, size, size, generator=self.random) * 2 - 1

    def styles(self, n: int) -> Tensor:
        w = self.g.mapping(torch.randn(n, self.config.generator.z_dim, generator=self.random))
        return w[:, None].expand(-1, self.g.num_ws, -1)

    def images(self, ws: Tensor) -> Tensor:
        if self.name == "ours":
            noise = self.g.synthesis.random_noise(len(ws), self.random)
        else:
            noise = [None] * (self.g.num_ws - 1)  # drawn inside
        return self.g.synthesis(ws, noise)

    def descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def run_d(self) -> None:
        self.d.requires_grad_(True)
        with torch.no_grad():
            fakes = self.images(self.styles(self.config.batch))
        self.descend(self.d_optimizer, discriminator_loss(self.d(self.reals), self.d(fakes)))

    def run_g(self) -> None:
        self.d.requires_grad_(False)
        self.descend(self.g_optimizer, generator_loss(self.d(self.images(self.styles(self.config.batch)))))

    def run_r1(self) -> None:
        self.d.requires_grad_(True)
        reals = self.reals.detach().requires_grad_(True)
        self.descend(self.d_optimizer, r1_penalty(self.d(reals), reals) * 80)

    def run_pl(self) -> None:
        ws = self.styles(max(1, self.config.batch // 2))
        images = self.images(ws)
        lengths = path_lengths(images, ws, torch.randn(images.shape, generator=self.random))
        self.descend(self.g_optimizer, (lengths - lengths.detach().mean() * 0.9).square().mean() * 8)

    @torch.no_grad()
    def run_ema(self) -> None:
        current = list(self.g.parameters())
        if self.name == "ours":
            torch._foreach_lerp_(self.average, current, 0.001)
        else:
            for average, parameter in zip(self.average, current, strict=True):
                average.mul_(0.999).add_(parameter, alpha=0.001)

    def phases(self) -> dict[str, Callable[[], None]]:
        return {name: getattr(self, f"run_{name}") for name in PHASES}


def processor_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def environment() -> dict[str, object]:
    """What a figure needs beside it."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "torch": torch.__version__, "threads": torch.get_num_threads(), "precision": "float32",
        "processor": names[0] if names else platform.machine(), "cores": os.cpu_count(),
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()),
    }  # fmt: skip


def measure(config: Config, repeats: int, warm: bool) -> dict[str, dict[str, list[float]]]:
    """Time every phase on both sides, side by side, the order alternating: seconds by phase and side."""
    sides = [Side("textbook", config), Side("ours", config)]
    if warm:
        for side in sides:
            for work in side.phases().values():
                work()
    times: dict[str, dict[str, list[float]]] = {phase: {s.name: [] for s in sides} for phase in PHASES}
    for repeat in range(repeats):
        for phase in PHASES:
            for side in sides[:: 1 if repeat % 2 == 0 else -1]:
                times[phase][side.name].append(processor_seconds(side.phases()[phase]))
    return times


def augment_seconds(config: Config) -> float:
    """Median processor seconds of our augmentation of one batch, without gradient, p = 0.6."""
    size = config.generator.resolution
    images, random = torch.randn(config.batch, 3, size, size), torch.Generator().manual_seed(0)
    with torch.no_grad():
        return statistics.median(processor_seconds(lambda: augment(images, 0.6, random)) for _ in range(9))


def peak_memory(side: str, name: str, keep_memory: bool) -> float:
    """Peak resident memory of one iteration with all phases in a process of its own, GiB; torch alone takes 0.5-0.7."""
    command = [sys.executable, "-m", "benchmarks.train_step", "--config", name, "--only-memory", side]
    command += ["--keep-memory"] if keep_memory else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak() -> float:
    """Peak resident memory of this process, GiB. Not getrusage: a child inherits the figure of its parent there."""
    status = Path("/proc/self/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) / 2**20


def summarise(times: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Medians of both sides and of the paired ratio, with its range; ``iteration`` is the amortised sum."""
    rows = {phase: (both["textbook"], both["ours"]) for phase, both in times.items()}
    repeats = range(len(rows["d"][0]))
    rows["iteration"] = tuple(  # type: ignore[assignment]
        [sum(rows[phase][side][i] * share for phase, share in PHASES.items()) for i in repeats] for side in (0, 1)
    )
    table = {}
    for phase, (textbook, ours) in rows.items():
        ratios = [a / max(b, 1e-9) for a, b in zip(textbook, ours, strict=True)]
        table[phase] = {
            "textbook_s": statistics.median(textbook), "ours_s": statistics.median(ours),
            "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        }  # fmt: skip
    return table


def markdown(config: Config, result: dict[str, object]) -> str:
    """The result as text for a README."""
    table, memory = result["phases"], result["peak_rss_gib"]
    assert isinstance(table, dict)
    assert isinstance(memory, dict)
    lines = [
        f"{config.title}; float32, one thread, processor seconds, {result['repeats']} paired repeats, "
        f"torch {result['torch']}, {result['processor']}, load {result['load']}",
        "",
        "| phase | textbook, s | ours, s | ratio | min - max |",
        "|---|---|---|---|---|",
    ]
    for phase, row in table.items():
        title = "**iteration** (d + g + r1/16 + pl/4 + ema)" if phase == "iteration" else phase
        spread = f"{row['ratio_min']:.2f} - {row['ratio_max']:.2f}"
        lines.append(f"| {title} | {row['textbook_s']:.4g} | {row['ours_s']:.4g} | x{row['ratio']:.2f} | {spread} |")
    if memory:
        lines.append(f"| peak memory, GiB | {memory['textbook']:.2f} | {memory['ours']:.2f} | "
                     f"x{memory['textbook'] / memory['ours']:.2f} | |")  # fmt: skip
    lines.append(f"| augmentation of one batch, p = 0.6 | | {result['augment_s']:.4g} | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", choices=sorted(CONFIGS), default="64")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-warm-up", action="store_true", help="for configurations that take minutes")
    parser.add_argument("--no-memory", action="store_true", help="leave out the two processes that measure peak memory")
    parser.add_argument("--keep-memory", action="store_true", help="let both sides keep the memory of freed tensors")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--only-memory", choices=["ours", "textbook"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = arguments.keep_memory and keep_freed_memory()
    config = CONFIGS[arguments.config]
    if arguments.only_memory:
        for work in Side(arguments.only_memory, config).phases().values():
            work()
        print(own_peak())
        return
    errors = assert_same_function(Generator(config.generator), Discriminator(config.discriminator))
    times = measure(config, arguments.repeats, not arguments.no_warm_up)
    sides = () if arguments.no_memory else ("textbook", "ours")
    memory = {side: peak_memory(side, arguments.config, arguments.keep_memory) for side in sides}
    result = environment() | {
        "keeps_freed_memory": kept,
        "config": config.title, "repeats": arguments.repeats, "warm_up": not arguments.no_warm_up,
        "difference": {"images": errors[0], "logits": errors[1]},
        "phases": summarise(times), "peak_rss_gib": memory, "augment_s": augment_seconds(config), "seconds": times,
    }  # fmt: skip
    print(markdown(config, result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
