"""The shipped networks as measuring instruments: checked by sha256, named after their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model.errors import CorruptInputError
from model.files import sha256_file
from model.metrics.nets import FEATURES, SIZE, AttributeNet, StyleNet
from model.shipped import ASSETS, shipped

ATTRIBUTE_NET = "attribute_net"  # names of shipped weights
STYLE_NET = "style_net"
BATCH = 64
PREPROCESS_ID = f"bicubic-{SIZE}-v1"  # of both: antialiased where the size differs, then [-1, 1]

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Asset:
    """A weight file that was checked against its manifest."""

    tensors: dict[str, Tensor]
    architecture: dict[str, Any]  # what the header says: net, names of styles, attributes and points
    sha256: str


@dataclass(frozen=True)
class FaceReading:
    """What :class:`AttributeReader` saw."""

    attributes: Floats  # [N, A], in units of the spread over training faces
    points: Floats  # [N, L, 2], (x, y) in [0, 1] of the image


class StyleFeatures:
    """Features of the style-sensitive network (see :class:`model.metrics.nets.StyleNet`)."""

    dim = FEATURES
    preprocess_id = PREPROCESS_ID

    def __init__(self, assets: Path = ASSETS) -> None:
        """Load and check the weights. Raises: as :func:`read_asset`."""
        asset = read_asset(STYLE_NET, "StyleNet", assets)
        self.styles: tuple[str, ...] = tuple(asset.architecture["styles"])
        self.attribute_names: tuple[str, ...] = tuple(asset.architecture["attributes"])
        self.weights_sha256 = asset.sha256
        self.name = f"stylenet-{asset.sha256[:8]}"
        self.net = StyleNet(len(self.styles), len(self.attribute_names))
        _load(self.net, asset)

    def __call__(self, images: Images) -> Floats:
        """Uint8 images -> float32 ``[N, 128]``; an image's features do not depend on the others."""
        with torch.inference_mode():
            return np.concatenate([self.net.features(batch)[:n].numpy() for batch, n in batches(images)])


class AttributeReader:
    """Attributes and landmarks by the style-blind network (see :class:`model.metrics.nets.AttributeNet`)."""

    preprocess_id = PREPROCESS_ID

    def __init__(self, assets: Path = ASSETS) -> None:
        """Load and check the weights. Raises: as :func:`read_asset`."""
        asset = read_asset(ATTRIBUTE_NET, "AttributeNet", assets)
        self.attribute_names: tuple[str, ...] = tuple(asset.architecture["attributes"])
        self.point_names: tuple[str, ...] = tuple(asset.architecture["points"])
        self.weights_sha256 = asset.sha256
        self.name = f"attributenet-{asset.sha256[:8]}"
        self.net = AttributeNet(len(self.attribute_names), len(self.point_names))
        _load(self.net, asset)

    @property
    def eyes(self) -> tuple[int, int]:
        """Rows of the two eye centres among the points."""
        return self.point_names.index("left_eye"), self.point_names.index("right_eye")

    def __call__(self, images: Images) -> FaceReading:
        """Uint8 images ``[N, H, W, 3]`` or ``[N, 3, H, W]`` -> what is on them."""
        with torch.inference_mode():
            read = [tuple(part[:n].numpy() for part in self.net(batch)) for batch, n in batches(images)]
        attributes, points = (np.concatenate(parts) for parts in zip(*read, strict=True))
        return FaceReading(attributes, points)

    def standardise(self, vectors: Floats) -> Floats:
        """True attribute vectors ``[N, A]`` in the units of :class:`FaceReading`."""
        scaled: Floats = (vectors - self.net.attribute_mean.numpy()) / self.net.attribute_std.numpy()
        return scaled


def read_asset(name: str, net: str, assets: Path) -> Asset:
    """Read one shipped weight file of the folder ``assets`` after checking it against the manifest there.

    Raises: MissingInputError if the file or its manifest entry is absent; CorruptInputError if its content is not
        what the manifest says or its header does not describe a ``net``.
    """
    path = shipped(name, assets)
    remedy = "restore it from version control, or train it again: make assets"
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise CorruptInputError(f"{path}: not a safetensors file ({error}); {remedy}") from error
    architecture = json.loads(header.get("architecture", "{}"))
    if architecture.get("net") != net:
        found = architecture.get("net")
        raise CorruptInputError(f"{path}: holds {found!r}, expected {net!r}; {remedy}")
    return Asset(tensors, architecture, sha256_file(path))


def _load(net: nn.Module, asset: Asset) -> None:
    net.load_state_dict(asset.tensors)
    net.eval().requires_grad_(False)


def batches(images: Images) -> Iterator[tuple[Tensor, int]]:
    """Batches in [-1, 1] of exactly ``BATCH`` images each, with how many of them are real.

    The last one is filled up: kernels differ by batch size, and an image's features must not depend on its company.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]) or not len(images):
        raise ValueError(f"expected uint8 images [N, H, W, 3] or [N, 3, H, W], got {images.dtype} {images.shape}")
    planes = images.transpose(0, 3, 1, 2) if images.shape[3] == 3 else images
    for start in range(0, len(planes), BATCH):
        part = planes[start : start + BATCH]
        filled = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])
        yield torch.from_numpy(filled).float() / 127.5 - 1.0, len(part)
