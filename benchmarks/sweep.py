"""Layer-swap sweep: shared prefixes against both generators in full at every level; the pictures must be bit-identical.

python -m benchmarks.sweep --resolution 64 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.train_step import environment, processor_seconds
from model.blend import Side, sweep_features
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
    torch.manual_seed(0)
    config = GeneratorConfig(arguments.resolution, 512, 512, 8, arguments.channel_base, arguments.channel_max)
    source, target = Generator(config).eval(), Generator(config).eval()
    levels, skip = config.resolutions[:-1], "source"
    times: dict[str, list[float]] = {"full": [], "shared": []}
    with torch.no_grad():
        z = torch.randn(arguments.batch, 512)
        ws = source.broadcast(source.mapping(z)), target.broadcast(target.mapping(z))
        noise = source.synthesis.const_noise()
        results: dict[str, dict[int, Tensor]] = {}
        for repeat in range(arguments.repeats + 1):  # the first one warms up
            for name in ("full", "shared") if repeat % 2 else ("shared", "full"):

                def work(name: str = name, skip: Side = skip) -> None:
                    if name == "full":
                        results[name] = full_passes(source, target, ws, noise, levels)
                    else:
                        results[name] = sweep_features(source, target, *ws, noise, levels, skip)

                times[name].append(processor_seconds(work))
    same = all(torch.equal(results["full"][at], results["shared"][at]) for at in levels)
    ratios = [a / b for a, b in zip(times["full"][1:], times["shared"][1:], strict=True)]
    result = environment() | {
        "config": f"{config}", "levels": list(levels), "batch": arguments.batch, "bit_identical": same,
        "full_s": statistics.median(times["full"][1:]), "shared_s": statistics.median(times["shared"][1:]),
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
    }  # fmt: skip
    print(
        f"{config.resolution} px, {len(levels)} levels, batch {arguments.batch}: full passes {result['full_s']:.3g} s, "
        f"shared prefixes {result['shared_s']:.3g} s (processor, one thread), x{result['ratio']:.2f} "
        f"({min(ratios):.2f} - {max(ratios):.2f}), pictures {'bit-identical' if same else 'DIFFERENT'}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
