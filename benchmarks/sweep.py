"""Layer-swap sweep: shared prefixes against both generators in full at every level; the pictures must be bit-identical.

python -m benchmarks.sweep --resolution 64 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.train_step import environment, processor_seconds
from model.blend import sweep_features
from model.networks.generator import BlockOutput, Generator, GeneratorConfig, Noise


def full_passes(
    source: Generator, target: Generator, ws: tuple[Tensor, Tensor], noise: Noise, levels: Sequence[int]
) -> dict[int, Tensor]:
    """Every level on its own, both generators in full, as published scripts do."""
    images = {}
    for at in levels:
        taps = {out.resolution: out for out in source.synthesis.walk(ws[0], noise)}
        handed: BlockOutput | None = None
        for out in target.synthesis.walk(ws[1], noise):  # the published way computes this prefix and throws it away
            if out.resolution == at:
                handed = taps[at]
                break
        images[at] = list(target.synthesis.walk(ws[1], noise, handed))[-1].rgb
    return images


@torch.no_grad()
def measure(config: GeneratorConfig, batch: int, repeats: int) -> dict[str, object]:
    """Time both ways in turns; processor seconds, the paired ratio, and whether every picture is the same."""
    torch.manual_seed(0)
    source, target = Generator(config).eval(), Generator(config).eval()
    levels = config.resolutions[:-1]
    z = torch.randn(batch, config.z_dim)
    ws = source.broadcast(source.mapping(z)), target.broadcast(target.mapping(z))
    noise = source.synthesis.const_noise()
    results: dict[str, dict[int, Tensor]] = {}
    ways: dict[str, Callable[[], None]] = {
        "full": lambda: results.update(full=full_passes(source, target, ws, noise, levels)),
        "shared": lambda: results.update(shared=sweep_features(source, target, *ws, noise, levels, "source")),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):  # the first one warms up
        for name in list(ways)[:: 1 if repeat % 2 else -1]:
            times[name].append(processor_seconds(ways[name]))
    full, shared = times["full"][1:], times["shared"][1:]
    ratios = [a / b for a, b in zip(full, shared, strict=True)]
    return {
        "levels": list(levels), "full_s": statistics.median(full), "shared_s": statistics.median(shared),
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        "bit_identical": all(torch.equal(results["full"][at], results["shared"][at]) for at in levels),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channel-base", type=int, default=4096, help="4096: the demo's; 32768: config-f")
    parser.add_argument("--channel-max", type=int, default=128, help="128: the demo's; 512: config-f")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = GeneratorConfig(arguments.resolution, 512, 512, 8, arguments.channel_base, arguments.channel_max)
    result = measure(config, arguments.batch, arguments.repeats)
    print(
        f"{config.resolution} px, {len(config.resolutions) - 1} levels, batch {arguments.batch}: "
        f"full passes {result['full_s']:.3g} s, shared prefixes {result['shared_s']:.3g} s (processor, one thread), "
        f"x{result['ratio']:.2f} ({result['ratio_min']:.2f} - {result['ratio_max']:.2f}), "
        f"pictures {'bit-identical' if result['bit_identical'] else 'DIFFERENT'}"
    )
    if arguments.json:
        whole = environment() | {"config": f"{config}", "batch": arguments.batch} | result
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n")
    if not result["bit_identical"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
