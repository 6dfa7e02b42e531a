"""Layer-swap sweeps: one shared pass against separate full ones; fails unless all pictures are bit-identical.

    python -m benchmarks.sweep --resolution 64
    python -m benchmarks.sweep --resolution 256 --channel-base 32768 --channel-max 512 --batch 1 --repeats 5

Ways to draw every level of every kind of exchange: ``textbook``, both generators in full at every level in the
arithmetic of most public ports; ``both``, the same with our own modules; ``alone``, one full pass of ours per picture,
nothing more than it needs; ``shared``, one pass over all.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.textbook import TextbookGenerator
from benchmarks.train_step import environment, processor_seconds
from model.blend.kinds import FeatureExchange, Kind, Side, WeightExchange
from model.blend.sweep import State, Sweep, picture
from model.blend.weights import mix_weights
from model.networks.generator import BlockOutput, Generator, GeneratorConfig, Noise
from model.ops.fir import upsample

# What is swept: the features alone, as published (its own RGB skip, or FreezeG's); the kinds of profiles/paper.
FEATURES = {"features": FeatureExchange("features", "source", "source")}
CARTOON = {"cartoon_stylegan": FeatureExchange("features", "source", "target")}
SWEEPS: dict[str, dict[str, Kind]] = {
    "features, RGB of the source": {**FEATURES},
    "features, RGB of the target": {**CARTOON},
    "the four kinds of profiles/paper": {
        "weights": WeightExchange("weights", "source", None, "low"), **FEATURES, **CARTOON,
        "toonify": WeightExchange("weights", "target", None, "low"),
    },
    "weights that fade": {"smooth": WeightExchange("weights", "source", 1.0, "low")},
}  # fmt: skip


class Bench(NamedTuple):
    """What every way draws with."""

    source: Generator
    target: Generator
    ws: Mapping[Side, Tensor]
    noise: Noise
    levels: tuple[int, ...]
    blends: dict[tuple[Kind, int], Generator]  # of kinds that exchange weights
    textbook: tuple[TextbookGenerator, TextbookGenerator]

    def pictures(self, kinds: Mapping[str, Kind]) -> list[State]:
        return [picture(kind, at, self.source.config.resolutions) for kind in kinds.values() for at in self.levels]


def bench_of(config: GeneratorConfig, batch: int) -> Bench:
    torch.manual_seed(0)
    source, target = Generator(config).eval(), Generator(config).eval()
    levels, blends = config.resolutions[:-1], {}
    for kind in (kind for kinds in SWEEPS.values() for kind in kinds.values()):
        for at in levels if isinstance(kind, WeightExchange) else ():
            blends[kind, at] = mix_weights(source, target, kind.blend(at, config.resolutions))
    z = torch.randn(batch, config.z_dim)
    ws: dict[Side, Tensor] = {
        side: net.broadcast(net.mapping(z)) for side, net in (("source", source), ("target", target))
    }
    noise, textbook = source.synthesis.const_noise(), (TextbookGenerator(source), TextbookGenerator(target))
    return Bench(source, target, ws, noise, levels, blends, textbook)


def shared(bench: Bench, kinds: Mapping[str, Kind]) -> list[Tensor]:
    sweep = Sweep(bench.source, bench.target, _mixed(bench))
    return list(sweep.draw(bench.pictures(kinds), bench.ws, bench.noise))


def alone(bench: Bench, kinds: Mapping[str, Kind]) -> list[Tensor]:
    """Every picture by itself; blended generators run whole."""
    images = []
    sweep = Sweep(bench.source, bench.target)
    for kind in kinds.values():
        for at in bench.levels:
            if isinstance(kind, WeightExchange):
                made_of = kind.blend(at, bench.source.config.resolutions)
                images.append(bench.blends[kind, at].synthesis(bench.ws[made_of.mapping], bench.noise))
            else:
                wanted = picture(kind, at, bench.source.config.resolutions)
                images.append(next(sweep.draw([wanted], bench.ws, bench.noise)))
    return images


def both(bench: Bench, kinds: Mapping[str, Kind]) -> list[Tensor]:
    """Both generators in full for every picture, and the picture's own pass from where the features are handed over."""
    images = []
    for kind in kinds.values():
        for at in bench.levels:
            if isinstance(kind, WeightExchange):
                images += alone(bench._replace(levels=(at,)), {"": kind})
                continue
            taps = {out.resolution: out for out in bench.source.synthesis.walk(bench.ws["source"], bench.noise)}
            below: BlockOutput | None = None
            for out in bench.target.synthesis.walk(bench.ws["target"], bench.noise):
                if out.resolution == at:
                    break
                below = out
            images.append(_finish(bench, kind, taps[at], below))
    return images


def _finish(bench: Bench, kind: FeatureExchange, handed: BlockOutput, below: BlockOutput | None) -> Tensor:
    target, ws = bench.target.synthesis, bench.ws["target"]
    if kind.rgb_skip == "target":
        block = target.block(handed.resolution)
        rgb = block.to_rgb(handed.features, ws[:, block.first_row + len(block.convs())])
        handed = BlockOutput(handed.resolution, handed.features, rgb if below is None else rgb + upsample(below.rgb))
    return list(target.walk(ws, bench.noise, handed))[-1].rgb


def textbook(bench: Bench, kinds: Mapping[str, Kind]) -> list[Tensor]:
    """Both textbook generators in full for every picture; a swap between them costs nothing and is left out."""
    first, second = bench.textbook
    images = []
    for kind in kinds.values():
        for _ in bench.levels:
            if isinstance(kind, FeatureExchange):
                first.synthesis(bench.ws["source"], bench.noise)
            images.append(second.synthesis(bench.ws["target"], bench.noise))
    return images


def _mixed(bench: Bench) -> dict[tuple[int, float], Generator]:
    mixed: dict[tuple[int, float], Generator] = {}
    for (kind, at), generator in bench.blends.items():
        assert isinstance(kind, WeightExchange)
        mixed |= dict.fromkeys(kind.blend(at, bench.source.config.resolutions).mixed, generator)
    return mixed


WAYS: dict[str, Callable[[Bench, Mapping[str, Kind]], list[Tensor]]] = {
    "textbook": textbook, "both": both, "alone": alone, "shared": shared,
}  # fmt: skip


@torch.inference_mode()
def measure(bench: Bench, kinds: Mapping[str, Kind], repeats: int, warm: bool = True) -> dict[str, object]:
    """Time every way in turns: processor seconds, paired ratios to ``shared``, whether the pictures are the same."""
    drawn: dict[str, list[Tensor]] = {}
    times: dict[str, list[float]] = {name: [] for name in WAYS}

    def run(name: str) -> None:
        drawn[name] = WAYS[name](bench, kinds)

    for repeat in range(repeats + warm):
        for name in list(WAYS)[:: 1 if repeat % 2 else -1]:
            times[name].append(processor_seconds(lambda name=name: run(name)))  # type: ignore[misc]
    times = {name: seconds[warm:] for name, seconds in times.items()}
    ratios = {
        name: [a / b for a, b in zip(seconds, times["shared"], strict=True)]
        for name, seconds in times.items()
        if name != "shared"
    }
    return {
        "pictures": len(drawn["shared"]), "repeats": repeats,
        "seconds": {name: statistics.median(seconds) for name, seconds in times.items()},
        "ratio": {name: _spread(values) for name, values in ratios.items()},
        "bit_identical": all(
            torch.equal(a, b) for name in ("both", "alone") for a, b in zip(drawn[name], drawn["shared"], strict=True)
        ),
    }  # fmt: skip


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channel-base", type=int, default=4096, help="4096: 64 px; 32768: config-f")
    parser.add_argument("--channel-max", type=int, default=128, help="128: 64 px; 512: config-f")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = GeneratorConfig(arguments.resolution, 512, 512, 8, arguments.channel_base, arguments.channel_max)
    with torch.inference_mode():
        bench = bench_of(config, arguments.batch)
    results = {}
    for name in arguments.only:
        result = results[name] = measure(bench, SWEEPS[name], arguments.repeats)
        seconds, ratio = result["seconds"], result["ratio"]
        assert isinstance(seconds, dict)
        assert isinstance(ratio, dict)
        print(
            f"{config.resolution} px, {len(bench.levels)} levels, batch {arguments.batch}, {name}: "
            f"{result['pictures']} pictures, shared {seconds['shared']:.3g} s (processor, one thread); "
            + ", ".join(f"{way} x{r['median']:.2f} ({r['min']:.2f} - {r['max']:.2f})" for way, r in ratio.items())
            + f"; {'bit-identical' if result['bit_identical'] else 'DIFFERENT'}",
            flush=True,
        )
    if arguments.json:
        whole = environment() | {"config": f"{config}", "batch": arguments.batch, "sweeps": results}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n")
    if not all(result["bit_identical"] for result in results.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
