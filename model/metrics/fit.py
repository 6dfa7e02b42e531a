"""Training of the two measuring networks: short, resumable, the same result after any interruption."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from model.files import atomic_write
from model.metrics.augment import Augmented, Jitter, augment
from model.metrics.nets import AttributeNet, StyleNet

POINT_UNIT = 0.05  # of the image side: about the spread of a landmark, so both parts of the loss weigh the same
LABEL_SMOOTHING = 0.1  # bounds the style direction of the features: without it one axis would be all of FID
ROLL_DEGREES = 6.0  # what roll = 1 means (model.data.synthetic.attributes): a turned picture has another roll
STATE_EVERY = 500  # steps
REPORT_EVERY = 50  # steps


@dataclass(frozen=True)
class FitParams:
    """How one network is trained."""

    kimg: float  # thousands of pictures shown
    batch: int
    learning_rate: float  # of Adam, at the start; falls to 0 along a cosine
    jitter: Jitter


@dataclass(frozen=True)
class ProbeSet:
    """Faces with everything known about them, each in every style."""

    images: NDArray[np.uint8]  # [F, S, 64, 64, 3]
    attributes: NDArray[np.float32]  # [F, A]
    points: NDArray[np.float32]  # [F, L, 2]
    style_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    point_names: tuple[str, ...]


@dataclass(frozen=True)
class FitReport:
    """Where a training is."""

    images: int  # shown so far
    loss: float  # mean since the last report


@dataclass(frozen=True)
class _Batch:
    seen: Augmented
    attributes: Tensor  # standardised, [N, A]
    styles: Tensor  # class indices, [N]


def attribute_net(data: ProbeSet) -> AttributeNet:
    """A fresh style-blind network for ``data``, with the spread of its attributes stored."""
    net = AttributeNet(len(data.attribute_names), len(data.point_names))
    net.attribute_mean.copy_(torch.from_numpy(data.attributes.mean(axis=0)))
    net.attribute_std.copy_(torch.from_numpy(data.attributes.std(axis=0)))
    net.mean_points.copy_(torch.from_numpy(data.points.mean(axis=0)))
    return net


def style_net(data: ProbeSet) -> StyleNet:
    """A fresh style-sensitive network for ``data``."""
    return StyleNet(len(data.style_names), len(data.attribute_names))


def loss_of(net: AttributeNet | StyleNet, batch: _Batch) -> Tensor:
    """Mean squared errors in units of the spread; for the style-sensitive network also the cross-entropy of styles."""
    if isinstance(net, AttributeNet):
        attributes, points = net(batch.seen.images)
        misplaced = functional.mse_loss(points / POINT_UNIT, batch.seen.points / POINT_UNIT)
        return functional.mse_loss(attributes, batch.attributes) + misplaced
    styles, attributes, damage = net(batch.seen.images)
    told = functional.cross_entropy(styles, batch.styles, label_smoothing=LABEL_SMOOTHING)
    return told + functional.mse_loss(attributes, batch.attributes) + functional.mse_loss(damage, batch.seen.damage)


def fit(net: AttributeNet | StyleNet, data: ProbeSet, params: FitParams, seed: int, state: Path) -> Iterator[FitReport]:
    """Train ``net`` in place, continuing from ``state`` if that file belongs to the same recipe.

    Args:
        net: a fresh network.
        data: faces to learn from.
        params: how.
        seed: of batches and jitter; step i always draws the same numbers.
        state: where the state is saved every 500 steps and at the end.

    Yields: a report every 50 steps and at the end.
    """
    steps = math.ceil(params.kimg * 1000 / params.batch)
    optimiser = torch.optim.Adam(net.parameters(), lr=params.learning_rate)
    recipe = json.dumps({"params": asdict(params), "seed": seed, "faces": len(data.images)}, sort_keys=True)
    first = _load_state(state, net, optimiser, recipe)
    losses: list[float] = []
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = params.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(net, draw_batch(data, params, seed, step))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        done = step + 1
        if done % STATE_EVERY == 0 or done == steps:
            _save_state(state, net, optimiser, recipe, done)
        if done % REPORT_EVERY == 0 or done == steps:
            yield FitReport(done * params.batch, float(np.mean(losses)))
            losses.clear()


def draw_batch(data: ProbeSet, params: FitParams, seed: int, step: int) -> _Batch:
    """The batch of one step: random faces in random styles, changed; depends on (seed, step) alone."""
    philox = np.random.Philox(key=seed, counter=[0, 0, 0, step])
    rng = torch.Generator().manual_seed(int(philox.random_raw() >> 1))
    faces = torch.randint(len(data.images), (params.batch,), generator=rng)
    styles = torch.randint(len(data.style_names), (params.batch,), generator=rng)
    pictures = torch.from_numpy(data.images[faces.numpy(), styles.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    seen = augment(pictures.contiguous(), torch.from_numpy(data.points)[faces], params.jitter, rng)
    vectors = torch.from_numpy(data.attributes)[faces]
    if "roll" in data.attribute_names:
        vectors[:, data.attribute_names.index("roll")] += seen.turned / ROLL_DEGREES
    mean, std = data.attributes.mean(axis=0), data.attributes.std(axis=0)
    return _Batch(seen, (vectors - torch.from_numpy(mean)) / torch.from_numpy(std), styles)


def write_asset(path: Path, net: AttributeNet | StyleNet, data: ProbeSet, provenance: dict[str, Any]) -> str:
    """Write a trained network as safetensors; the header says what it is and how it was made.

    Returns: the sha256 of the file.
    """
    architecture = {
        "net": type(net).__name__,
        "styles": data.style_names,
        "attributes": data.attribute_names,
        "points": data.point_names,
    }
    header = {"architecture": json.dumps(architecture), "provenance": json.dumps(provenance, sort_keys=True)}
    tensors = {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    return atomic_write(path, lambda file: file.write(_sorted_header(save(tensors, header))))


def _sorted_header(data: bytes) -> bytes:
    """Rewrite a safetensors file so that equal content is equal bytes: the library orders metadata at random."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _save_state(path: Path, net: nn.Module, optimiser: torch.optim.Adam, recipe: str, step: int) -> None:
    tensors = {f"net.{name}": tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        moments = optimiser.state[parameter]
        tensors |= {f"{key}.{name}": moments[key].contiguous() for key in ("exp_avg", "exp_avg_sq")}
    atomic_write(path, lambda file: file.write(save(tensors, {"recipe": recipe, "step": str(step)})))


def _load_state(path: Path, net: nn.Module, optimiser: torch.optim.Adam, recipe: str) -> int:
    """Restore everything and return the next step; 0 when there is nothing of this recipe to continue."""
    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        if header.get("recipe") != recipe:
            return 0
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    step = int(header["step"])
    net.load_state_dict({name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")})
    for name, parameter in net.named_parameters():
        optimiser.state[parameter] = {
            "step": torch.tensor(float(step)),
            # The layout of the weights (channels last), or the next update would run another kernel.
            **{key: torch.empty_like(parameter).copy_(tensors[f"{key}.{name}"]) for key in ("exp_avg", "exp_avg_sq")},
        }
    return step
