"""What a method really does, found by trying it on narrow networks of the same architecture.

Nothing here knows a technique: what trains is read off ``requires_grad``, style rows are traced by marked vectors, a
loss is what a technique returns for a rendered pass and what its gradient reaches, path length is what one step ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from model.checkpoint.strict import empty
from model.data.dataset import ArrayImages
from model.finetune import load_method
from model.finetune.technique import Augmentation, Codes, Networks, Technique, augmentation_of
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import BlockOutput, Generator, GeneratorConfig
from model.training.config import TrainConfig
from model.training.trainer import Trainer

WIDTH, BATCH = 4, 2  # channels and images of the networks tried: the same layers at a hundredth of the cost
CASES = {  # the batches whose style vectors a technique may choose: name -> (step, codes per image)
    "D step of one code": ("d", 1), "D step of two codes": ("d", 2), "G step of one code": ("g", 1),
    "G step of two codes": ("g", 2), "path length of one code": ("path", 1), "path length of two codes": ("path", 2),
    "in use": ("use", 1),
}  # fmt: skip
_FIRST, _SECOND, _SOURCE = 1.0, 2.0, 10.0  # marks of codes; the source's are 10 and more


@dataclass(frozen=True)
class Part:
    """One part of a network: a mapping network, a block, a head."""

    network: str  # generator or discriminator
    name: str
    resolution: int | None  # px, of a block
    trained: int  # parameters
    total: int
    rows: tuple[int, ...]  # of ws, that a block of the generator reads


@dataclass(frozen=True)
class Loss:
    """What a technique adds to the generator's loss."""

    technique: str
    weight: float | None  # of its settings, if it has one
    compared: str  # outputs of the networks that it reads, in words


@dataclass(frozen=True)
class Explanation:
    """What a method does."""

    method: str
    resolution: int  # px
    parts: tuple[Part, ...]
    source_rows: Mapping[int, tuple[str, ...]]  # row of ws -> the cases in which it comes from the source
    mixes: bool  # styles of two codes meet in one image
    losses: tuple[Loss, ...]
    path_length: bool
    augmentation: Augmentation | None
    config: TrainConfig
    settings: Mapping[str, Mapping[str, Any]]

    def count(self, network: str) -> tuple[int, int]:
        """Return how many parameters of a network train, and how many it has."""
        parts = [part for part in self.parts if part.network == network]
        return sum(part.trained for part in parts), sum(part.total for part in parts)


def dry_run(
    method: str,
    techniques: Mapping[str, Mapping[str, Any] | None],
    architecture: tuple[GeneratorConfig, DiscriminatorConfig],
    config: TrainConfig,
) -> Explanation:
    """Try a method, without weights, images or files.

    Args:
        method: its name, for the report.
        techniques: its entry in params.yaml.
        architecture: of the networks it trains.
        config: numbers of the training.

    Raises: UsageError if the method does not fit the architecture.
    """
    built = load_method(techniques)
    trainer = _narrow_trainer(built, architecture, replace(config, batch=BATCH, kimg=BATCH / 1000))
    nets = trainer.nets
    parts = _parts(nets, architecture)
    origins = {name: _origins(built, nets.generator.num_ws, *case) for name, case in CASES.items()}
    rows = range(nets.generator.num_ws)
    trainer.step()
    nets.generator.requires_grad_(True)  # so that a loss shows in frozen blocks too
    losses = tuple(loss for technique in built if (loss := _loss(technique, trainer)) is not None)
    return Explanation(
        method, nets.generator.config.resolution, parts,
        {row: cases for row in rows if (cases := tuple(n for n, marks in origins.items() if marks[row] >= _SOURCE))},
        origins["G step of two codes"][-1] % _SOURCE == _SECOND, losses, bool(trainer.mean_path > 0),
        augmentation_of(built, nets), config, {name: dict(techniques[name] or {}) for name in sorted(techniques)},
    )  # fmt: skip


def _narrow_trainer(
    techniques: Sequence[Technique], architecture: tuple[GeneratorConfig, DiscriminatorConfig], config: TrainConfig
) -> Trainer:
    size, base = architecture[0].resolution, WIDTH * architecture[0].resolution
    narrow = replace(architecture[0], z_dim=WIDTH, w_dim=WIDTH, channel_base=base, channel_max=WIDTH)
    judge = replace(architecture[1], channel_base=base, channel_max=WIDTH)
    nets = Networks.from_source(empty(Generator, narrow), empty(Discriminator, judge))
    images = ArrayImages(np.zeros((BATCH, size, size, 3), dtype=np.uint8))
    return Trainer(nets, images, config, techniques, seed=0)


def _parts(nets: Networks, architecture: tuple[GeneratorConfig, DiscriminatorConfig]) -> tuple[Part, ...]:
    """Count parameters of the real architecture, by whether those of the same name train in the narrow networks."""
    found: dict[tuple[str, str, int | None], list[int]] = {}
    real: list[tuple[str, nn.Module, nn.Module]] = [
        ("generator", empty(Generator, architecture[0]), nets.generator),
        ("discriminator", empty(Discriminator, architecture[1]), nets.discriminator),
    ]
    for network, module, tried in real:
        trains = {name: parameter.requires_grad for name, parameter in tried.named_parameters()}
        for name, parameter in module.named_parameters():
            sums = found.setdefault((network, *_part_of(name)), [0, 0])
            sums[0] += parameter.numel() * trains[name]
            sums[1] += parameter.numel()
    rows = {r: _rows(nets.generator, r) for r in nets.generator.config.resolutions}
    return tuple(
        Part(network, name, size, trained, total, rows[size] if network == "generator" and size else ())
        for (network, name, size), (trained, total) in found.items()
    )


def _part_of(parameter: str) -> tuple[str, int | None]:
    """Return the part that a parameter belongs to, and its size in px if that is a block."""
    names = parameter.removeprefix("synthesis.").split(".")
    if names[0] == "blocks":
        return f"block {names[1]} px", int(names[1])
    return {"mapping": "mapping network", "const": "constant", "from_rgb": "from RGB"}.get(names[0], "head"), None


def _rows(generator: Generator, resolution: int) -> tuple[int, ...]:
    block = generator.synthesis.block(resolution)
    return tuple(range(block.first_row, block.first_row + len(block.convs()) + 1))


def _origins(techniques: Sequence[Technique], num_ws: int, purpose: str, count: int) -> list[float]:
    """Return for every row of ws the mark of the code that it comes from."""

    def marked(offset: float) -> tuple[torch.Tensor, ...]:
        return tuple(torch.full((1, 1), offset + mark) for mark in (_FIRST, _SECOND)[:count])

    random = torch.Generator().manual_seed(0)
    crossover = num_ws - 1 if count == 2 else num_ws
    codes = Codes(purpose, marked(0.0), lambda: marked(_SOURCE), crossover, num_ws, random, 1, lambda values: values)
    ws = codes.ws
    for technique in techniques:
        ws = technique.styles(ws, codes)
    return ws.flatten().tolist()


def _loss(technique: Technique, trainer: Trainer) -> Loss | None:
    """Ask a technique for its loss, and find what it reads: outputs handed to it, or passes that it makes itself."""
    step = trainer.make_pass(trainer.draw("g", BATCH))
    trainer.render(step)
    step.outputs = {
        r: BlockOutput(r, out.features.detach().requires_grad_(True), out.rgb.detach().requires_grad_(True))
        for r, out in step.outputs.items()
    }
    loss = technique.generator_loss(trainer.nets, step)
    if loss is None:
        return None
    tensors = {f"{kind} {r}": getattr(out, kind) for r, out in step.outputs.items() for kind in ("features", "rgb")}
    tensors |= dict(trainer.nets.generator.synthesis.named_parameters())
    gradients = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)
    reached = [name for name, gradient in zip(tensors, gradients, strict=True) if gradient is not None]
    return Loss(_name(technique), getattr(technique, "weight", None), _compared(reached))


def _compared(reached: Sequence[str]) -> str:
    """Say what a loss reads, from the outputs and parameters that its gradient reaches."""
    words = []
    for kind, word in (("features", "features"), ("rgb", "RGB")):
        sizes = [name.removeprefix(f"{kind} ") for name in reached if name.startswith(f"{kind} ")]
        words += [f"{word} of {listed(sizes)} px"] if sizes else []
    blocks = [name.split(".") for name in reached if name.startswith("blocks.")]
    if blocks:
        kind = "RGB" if any(names[2] == "to_rgb" for names in blocks) else "features"
        words.append(f"{kind} of up to {max(int(names[1]) for names in blocks)} px, from passes of its own")
    return " and ".join(words) or "no output of the generator"


def _name(technique: Technique) -> str:
    """Return the params key of a technique: its file's name."""
    return type(technique).__module__.rpartition(".")[2]


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"
