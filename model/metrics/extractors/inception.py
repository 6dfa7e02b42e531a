"""Inception v3 of 2015 up to its last pooling: the 2048 features of FID and KID as they are published.

The weights are those of TensorFlow's ``inception-2015-12-05``, under torchvision's names. The network differs from
torchvision's in its poolings: averages leave the padding out, and the last block takes a maximum.
Source: Szegedy et al. 2016 (Rethinking the Inception Architecture); Heusel et al. 2017 (FID).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.metrics.extractors import resize
from model.metrics.extractors.base import Floats, Images
from model.metrics.extractors.loading import built, digest, fill, read_state
from model.metrics.extractors.running import best_device, in_batches

SIZE = 299  # px
FEATURES = 2048
_EPSILON = 0.001  # of its batch normalisation
_HEAD = ("fc.weight", "fc.bias")  # of the 1008 classes, not needed


@dataclass(frozen=True)
class _Conv:
    """A convolution with normalisation and ReLU; ``whole`` keeps the size of the map."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    whole: bool = True


_Step = str | _Conv | tuple[_Conv, ...]  # a pooling, a convolution, or several of the same map side by side
_Branch = tuple[_Step, ...]
_POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False),
    "max": lambda x: functional.max_pool2d(x, 3, stride=1, padding=1),
    "half": lambda x: functional.max_pool2d(x, 3, stride=2),
}


def _chain(name: str, *layers: tuple[int, int, int]) -> _Branch:
    """Convolutions called name_1, name_2, ... of (width, kernel height, kernel width)."""
    return tuple(_Conv(f"{name}_{i}", w, (h, v)) for i, (w, h, v) in enumerate(layers, 1))


def _halving(name: str, width: int) -> _Conv:
    return _Conv(name, width, (3, 3), stride=2, whole=False)


def _a(pooled: int) -> list[_Branch]:
    return [
        (_Conv("branch1x1", 64),),
        _chain("branch5x5", (48, 1, 1), (64, 5, 5)),
        _chain("branch3x3dbl", (64, 1, 1), (96, 3, 3), (96, 3, 3)),
        ("mean", _Conv("branch_pool", pooled)),
    ]


def _c(inner: int) -> list[_Branch]:
    row, column = (inner, 1, 7), (inner, 7, 1)
    return [
        (_Conv("branch1x1", 192),),
        _chain("branch7x7", (inner, 1, 1), row, (192, 7, 1)),
        _chain("branch7x7dbl", (inner, 1, 1), column, row, column, (192, 1, 7)),
        ("mean", _Conv("branch_pool", 192)),
    ]


def _e(pool: str) -> list[_Branch]:
    def fork(name: str) -> tuple[_Conv, _Conv]:
        return _Conv(f"{name}a", 384, (1, 3)), _Conv(f"{name}b", 384, (3, 1))

    return [
        (_Conv("branch1x1", 320),),
        (_Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (*_chain("branch3x3dbl", (448, 1, 1), (384, 3, 3)), fork("branch3x3dbl_3")),
        (pool, _Conv("branch_pool", 192)),
    ]


_STEM: _Branch = (
    _halving("Conv2d_1a_3x3", 32),
    _Conv("Conv2d_2a_3x3", 32, (3, 3), whole=False),
    _Conv("Conv2d_2b_3x3", 64, (3, 3)),
    "half",
    _Conv("Conv2d_3b_1x1", 80),
    _Conv("Conv2d_4a_3x3", 192, (3, 3), whole=False),
    "half",
)
_BLOCKS: dict[str, list[_Branch]] = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": [
        (_halving("branch3x3", 384),),
        (*_chain("branch3x3dbl", (64, 1, 1), (96, 3, 3)), _halving("branch3x3dbl_3", 96)),
        ("half",),
    ],
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": [
        (_Conv("branch3x3_1", 192), _halving("branch3x3_2", 320)),
        (*_chain("branch7x7x3", (192, 1, 1), (192, 1, 7), (192, 7, 1)), _halving("branch7x7x3_4", 192)),
        ("half",),
    ],
    "Mixed_7b": _e("mean"),
    "Mixed_7c": _e("max"),
}


class InceptionNet(nn.Module):
    """Images ``[N, 3, 299, 299]`` in [-1, 1) -> features ``[N, 2048]``."""

    def __init__(self) -> None:
        """Build with weights drawn from the global generator."""
        super().__init__()
        self.stem = _STEM
        _add(self, self.stem, 3)
        width = 192
        for name, branches in _BLOCKS.items():
            block = _Block(branches, width)
            self.add_module(name, block)
            width = block.width

    def forward(self, images: Tensor) -> Tensor:
        """Run the layers."""
        maps = _run(self, self.stem, images)
        for name in _BLOCKS:
            maps = self.get_submodule(name)(maps)
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def fold(self) -> None:
        """Put each normalisation into the convolution before it, in double precision: fewer passes over the maps."""
        for unit in self.modules():
            if isinstance(unit, _Unit) and isinstance(unit.bn, nn.BatchNorm2d):
                unit.conv = fuse_conv_bn_eval(unit.conv.double(), unit.bn.double()).float()
                unit.bn = nn.Identity()
        self.to(memory_format=torch.channels_last)


class _Unit(nn.Module):
    def __init__(self, spec: _Conv, width: int) -> None:
        super().__init__()
        padding = (spec.kernel[0] // 2, spec.kernel[1] // 2) if spec.whole else 0
        self.conv = nn.Conv2d(width, spec.width, spec.kernel, spec.stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(spec.width, eps=_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(maps)), inplace=True)


class _Block(nn.Module):
    def __init__(self, branches: Sequence[_Branch], width: int) -> None:
        super().__init__()
        self.branches = branches
        self.width = sum(_add(self, branch, width) for branch in branches)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([_run(self, branch, maps) for branch in self.branches], dim=1)


def _add(owner: nn.Module, branch: _Branch, width: int) -> int:
    """Give ``owner`` the convolutions of a branch; return the width of what comes out."""
    for step in branch:
        if isinstance(step, str):
            continue
        convs = (step,) if isinstance(step, _Conv) else step
        for spec in convs:
            owner.add_module(spec.name, _Unit(spec, width))
        width = sum(spec.width for spec in convs)
    return width


def _run(owner: nn.Module, branch: _Branch, maps: Tensor) -> Tensor:
    for step in branch:
        if isinstance(step, str):
            maps = _POOLS[step](maps)
        elif isinstance(step, _Conv):
            maps = owner.get_submodule(step.name)(maps)
        else:
            maps = torch.cat([owner.get_submodule(spec.name)(maps) for spec in step], dim=1)
    return maps


class Inception:
    """Features of FID and KID (a :class:`~model.metrics.extractors.base.FeatureExtractor`)."""

    dim = FEATURES

    def __init__(self, net: InceptionNet, kind: str, sha256: str, prepare: Callable[[Images], Tensor]) -> None:
        """Measure with a loaded network.

        Args:
            net: goes to the GPU if there is one.
            kind: beginning of the name.
            sha256: of the weights.
            prepare: uint8 images ``[N, S, S, 3]`` -> float32 ``[N, 3, 299, 299]`` in [-1, 1).
        """
        self.name, self.weights_sha256 = f"{kind}-{sha256[:8]}", sha256
        self.preprocess_id = f"{prepare.__name__.replace('_', '-')}-{SIZE}-v1"
        self._device, self._prepare = best_device(), prepare
        self._net = net.to(self._device)

    def __call__(self, images: Images) -> Floats:
        """Uint8 ``[N, S, S, 3]`` -> float32 ``[N, 2048]``, never negative."""
        return in_batches(images, self._prepare, self._run, self._device)

    def _run(self, images: Tensor) -> Tensor:
        features: Tensor = self._net(images.contiguous(memory_format=torch.channels_last))
        return features


def clean(images: Images) -> Tensor:
    """Enlarge as clean-fid does; what FID means in new work."""
    return (torch.from_numpy(resize.clean(images, SIZE)) - 128.0) / 128.0


def tensorflow(images: Images) -> Tensor:
    """Enlarge as TensorFlow 1 did; what the numbers of StyleGAN2-ADA and torch-fidelity were computed with."""
    return (resize.tensorflow(images, SIZE) - 128.0) / 128.0


def load_net(path: Path, fold: bool = True) -> InceptionNet:
    """Read the network from ``pt_inception-2015-12-05-6726825d.pth``; with ``fold`` it is faster, equal to round-off.

    Raises: MissingInputError, CorruptInputError.
    """
    net = built(InceptionNet)
    assert isinstance(net, InceptionNet)
    state = read_state(path, "Inception 2015")
    fill(net, {key: value for key, value in state.items() if key not in _HEAD}, path, "Inception 2015")
    if fold:
        net.fold()
    return net


def open_inception(path: Path) -> Inception:
    """Load with the clean resize. Raises: as :func:`load_net`."""
    return Inception(load_net(path), "inception", digest(path), clean)


def open_inception_legacy(path: Path) -> Inception:
    """Load with TensorFlow's old resize, to compare with older published numbers. Raises: as :func:`load_net`."""
    return Inception(load_net(path), "inception_legacy", digest(path), tensorflow)
