"""Layer-swap sweeps: one shared pass against separate full ones; fails unless all pictures are bit-identical.

    python -m benchmarks.sweep --resolution 64
    python -m benchmarks.sweep --resolution 256 --channel-base 32768 --channel-max 512 --batch 1 --repeats 3

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
from model.blend.sweep import Rgb, Sweep, picture
from model.blend.weights import mix_weights
from model.networks.generator import BlockOutput, Generator, GeneratorConfig, Noise
from model.ops.memory import keep_freed_memory

FEATURES = FeatureExchange("features", "source", "source")
CARTOON = FeatureExchange("features", "source", "target")
WEIGHTS = WeightExchange("weights", "source", None, "low")
Asked = Sequence[tuple[Kind, Side | None]]  # every level of these; None: with the w of the mapping that goes along
OWN: Side | None = None
SWEEPS: dict[str, Asked] = {
    "features, RGB of the target": [(CARTOON, OWN)],  # as published
    "features, RGB of the source": [(FEATURES, OWN)],
    # What the stage evaluate draws: with the source's w and with its own, where the two are not the same.
    "kinds of profiles/paper": [
        (WEIGHTS, OWN), (FEATURES, "source"), (FEATURES, OWN), (CARTOON, "source"), (CARTOON, OWN),
        (WeightExchange("weights", "target", None, "low"), "source"),
        (WeightExchange("weights", "target", None, "low"), OWN),
    ],
    "weights that fade": [(WeightExchange("weights", "source", 1.0, "low"), OWN)],
}  # fmt: skip


class Bench(NamedTuple):
    """What every way draws with."""

    source: Generator
    target: Generator
    ws: Mapping[Side, Tensor]
    noise: Noise
    levels: tuple[int, ...]
    blends: dict[tuple[Kind, int], Generator]  # of kinds that exchange weights
    mixed: dict[tuple[int, float], Generator]
    textbook: tuple[TextbookGenerator, TextbookGenerator]

    def pictures(self, asked: Asked) -> list[Rgb]:
        return [picture(kind, at, self.source.config.resolutions, w) for kind, w in asked for at in self.levels]

    def blend(self, kind: WeightExchange, at: int, w: Side | None) -> Tensor:
        """Run the blended network."""
        side = w or kind.blend(at, self.source.config.resolutions).mapping
        return self.blends[kind, at].synthesis(self.ws[side], self.noise)


def bench_of(config: GeneratorConfig, batch: int) -> Bench:
    torch.manual_seed(0)
    source, target = Generator(config).eval(), Generator(config).eval()
    levels, blends, mixed = config.resolutions[:-1], {}, {}
    for kind in {kind for asked in SWEEPS.values() for kind, _ in asked if isinstance(kind, WeightExchange)}:
        for at in levels:
            made_of = kind.blend(at, config.resolutions)
            blends[kind, at] = mix_weights(source, target, made_of)
            mixed |= dict.fromkeys(made_of.mixed, blends[kind, at])
    z = torch.randn(batch, config.z_dim)
    ws: dict[Side, Tensor] = {
        side: net.broadcast(net.mapping(z)) for side, net in (("source", source), ("target", target))
    }
    textbook = TextbookGenerator(source), TextbookGenerator(target)
    return Bench(source, target, ws, source.synthesis.const_noise(), levels, blends, mixed, textbook)


def shared(bench: Bench, asked: Asked) -> list[Tensor]:
    sweep = Sweep(bench.source, bench.target, bench.mixed)
    return list(sweep.draw(bench.pictures(asked), bench.ws, bench.noise))


def alone(bench: Bench, asked: Asked) -> list[Tensor]:
    """Every picture by itself, with nothing that it does not need; blended networks run whole."""
    images, sweep = [], Sweep(bench.source, bench.target)
    for kind, w in asked:
        for at in bench.levels:
            if isinstance(kind, WeightExchange):
                images.append(bench.blend(kind, at, w))
            else:
                images += sweep.draw([picture(kind, at, bench.source.config.resolutions, w)], bench.ws, bench.noise)
    return images


def both(bench: Bench, asked: Asked) -> list[Tensor]:
    """As scripts do: both generators in full for every hand-over, a blended network in full for exchanged weights."""
    images = []
    for kind, w in asked:
        for at in bench.levels:
            if isinstance(kind, WeightExchange):
                images.append(bench.blend(kind, at, w))
                continue
            assert isinstance(kind, FeatureExchange)
            taps = {out.resolution: out for out in bench.source.synthesis.walk(bench.ws["source"], bench.noise)}
            below: BlockOutput | None = None
            ws = bench.ws[w or "target"]
            for out in bench.target.synthesis.walk(ws, bench.noise):
                if out.resolution == at:
                    break
                below = out
            handed = taps[at]
            if kind.rgb_skip == "target":
                block = bench.target.synthesis.block(at)
                row = block.first_row + len(block.convs())
                rgb = block.add_rgb(handed.features, None if below is None else below.rgb, ws[:, : row + 1])
                handed = BlockOutput(at, handed.features, rgb)
            images.append(list(bench.target.synthesis.walk(ws, bench.noise, handed))[-1].rgb)
    return images


def textbook(bench: Bench, asked: Asked) -> list[Tensor]:
    """As :func:`both`, in the textbook's arithmetic; what a swap between full passes costs is left out."""
    first, second = bench.textbook
    images = []
    for kind, _ in asked:
        for _ in bench.levels:
            if isinstance(kind, FeatureExchange):
                first.synthesis(bench.ws["source"], bench.noise)
            images.append(second.synthesis(bench.ws["target"], bench.noise))
    return images


WAYS: dict[str, Callable[[Bench, Asked], list[Tensor]]] = {
    "textbook": textbook, "both": both, "alone": alone, "shared": shared,
}  # fmt: skip


@torch.inference_mode()
def measure(bench: Bench, asked: Asked, repeats: int, warm: bool = True) -> dict[str, object]:
    """Time every way in turns: processor seconds, paired ratios to ``shared``, whether the pictures are the same."""
    drawn: dict[str, list[Tensor]] = {}
    times: dict[str, list[float]] = {name: [] for name in WAYS}

    def run(name: str) -> None:
        drawn[name] = WAYS[name](bench, asked)

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
    parser.add_argument("--no-warm-up", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the stage evaluate does; for every way
    config = GeneratorConfig(arguments.resolution, 512, 512, 8, arguments.channel_base, arguments.channel_max)
    with torch.inference_mode():
        bench = bench_of(config, arguments.batch)
    results = {}
    for name in arguments.only:
        result = results[name] = measure(bench, SWEEPS[name], arguments.repeats, not arguments.no_warm_up)
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
