"""LPIPS v0.1: how different two pictures look, by networks that were trained to name things.

Source: Zhang et al. 2018 (The Unreasonable Effectiveness of Deep Features as a Perceptual Metric), equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.metrics.extractors.base import Images
from model.metrics.extractors.loading import built, digest, extra, fill, read_state
from model.metrics.extractors.running import best_device, check_images, exact, run_whole

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in [-1, 1]; v0.0 lacked them
_TINY = 1e-10
SMALLEST = 32  # px


@dataclass(frozen=True)
class Trunk:
    """A network of torchvision and the layers whose outputs are compared."""

    kind: str  # beginning of the name
    model: str
    ends: tuple[int, ...]  # indices in its ``features``, each a ReLU
    widths: tuple[int, ...]


VGG = Trunk("lpips_vgg", "vgg16", (3, 8, 15, 22, 29), (64, 128, 256, 512, 512))
ALEX = Trunk("lpips_alex", "alexnet", (1, 4, 7, 9, 11), (64, 192, 384, 256, 256))


class LpipsNet(nn.Module):
    """Two stacks of images ``[N, 3, S, S]`` in [-1, 1] -> distances ``[N]``."""

    def __init__(self, trunk: Trunk) -> None:
        """Build with weights drawn from the global generator."""
        super().__init__()
        layers: nn.Sequential = extra("torchvision.models").get_model(trunk.model, weights=None).features
        self.features = layers[: trunk.ends[-1] + 1]
        self.lins = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in trunk.widths)
        self._parts = list(pairwise((0, *(end + 1 for end in trunk.ends))))
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare."""
        both = torch.cat([first, second])
        maps = (both - self.get_buffer("shift")) / self.get_buffer("scale")
        total = torch.zeros(len(first), device=first.device)
        for (start, stop), lin in zip(self._parts, self.lins, strict=True):
            maps = self.features[start:stop](maps)
            unit = maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + _TINY)
            a, b = unit.chunk(2)
            total = total + lin((a - b).square()).mean(dim=(1, 2, 3))
        return total


class Lpips:
    """A :class:`~model.metrics.extractors.base.PairDistance`; it takes bytes, so that no range can be wrong."""

    def __init__(self, trunk: Trunk, net: nn.Module, sha256: str) -> None:
        """Measure with a loaded network, which goes to the GPU if there is one."""
        self.name, self.weights_sha256 = f"{trunk.kind}-{sha256[:8]}", sha256
        self.preprocess_id = "own-size-v1"  # nothing is resized: distances depend on the size
        self._device = best_device()
        self._net = net.to(self._device)

    def __call__(self, first: Images, second: Images) -> NDArray[np.float64]:
        """Two uint8 ``[N, S, S, 3]`` -> distances ``[N]``; 0 is the same picture.

        Raises: ValueError for other shapes, or images smaller than the networks can see.
        """
        check_images(first)
        check_images(second)
        if first.shape != second.shape or first.shape[1] < SMALLEST:
            raise ValueError(f"expected pairs of one size, {SMALLEST} px or more, got {first.shape} and {second.shape}")

        def ready(part: slice) -> Tensor:
            pairs = np.concatenate([first[part], second[part]], axis=3).transpose(0, 3, 1, 2)
            return torch.from_numpy(np.ascontiguousarray(pairs)).float() / 127.5 - 1.0

        return run_whole(len(first), ready, self._compare, self._device).astype(np.float64)

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        """Two ``[N, 3, S, S]`` in [-1, 1] that were never rounded to bytes -> distances ``[N]``, for path lengths."""
        with exact():
            return self._compare(torch.cat([first, second], dim=1).float().to(self._device))

    def _compare(self, pairs: Tensor) -> Tensor:
        distances: Tensor = self._net(*pairs.chunk(2, dim=1))
        return distances


def load_net(trunk: Trunk, layers: Path, heads: Path) -> LpipsNet:
    """Read a network from torchvision's file of the trunk and LPIPS' file of the heads.

    Raises: MissingInputError, CorruptInputError.
    """
    net = built(lambda: LpipsNet(trunk))
    assert isinstance(net, LpipsNet)
    state = read_state(layers, trunk.model)
    convolutions = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    fill(net.features, convolutions, layers, trunk.model)
    weights = {k.removeprefix("lin").replace(".model.1.", "."): v for k, v in read_state(heads, trunk.kind).items()}
    fill(net.lins, weights, heads, f"the heads of {trunk.kind}")
    return net


def open_lpips_vgg(layers: Path, heads: Path) -> Lpips:
    """Load LPIPS on VGG16. Raises: as :func:`load_net`."""
    return Lpips(VGG, load_net(VGG, layers, heads), digest(layers, heads))


def open_lpips_alex(layers: Path, heads: Path) -> Lpips:
    """Load LPIPS on AlexNet. Raises: as :func:`load_net`."""
    return Lpips(ALEX, load_net(ALEX, layers, heads), digest(layers, heads))
