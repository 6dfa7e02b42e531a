"""Is it the same person? A small face recogniser of the ArcFace kind, behind YuNet's five landmarks.

It was trained on photographs: on drawings it is read with how often a face is found and with the shuffled floor.
Source: Deng et al. 2019 (ArcFace); Chen et al. 2018 (MobileFaceNets), here for faces of 112 x 96 px.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.data.faces.boxes import Face
from model.data.faces.yunet import Yunet, YunetSettings
from model.metrics.extractors.base import Floats, Images
from model.metrics.extractors.loading import built, digest, fill, read_state
from model.metrics.extractors.running import best_device, check_images, run_whole

FEATURES = 128
HEIGHT, WIDTH = 112, 96  # px, of the upright face
# Where eyes, nose and corners of the mouth then lie, (x, y): the frame of SphereFace and of all that follow it.
PLACES = ((30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041))
SMALLEST = 0.2  # of the image: the side of a face from which it is the person, not somebody in the background
# How often it is repeated, its width, its inner width over its width, and the stride of the first.
_STAGES = ((5, 64, 2, 2), (1, 128, 4, 2), (6, 128, 2, 1), (1, 128, 4, 2), (2, 128, 2, 1))
_LOG = logging.getLogger(__name__)


class MobileFaceNet(nn.Module):
    """Upright faces ``[N, 3, 112, 96]`` in about [-1, 1] -> ``[N, 128]``."""

    def __init__(self) -> None:
        """Build with weights drawn from the global generator."""
        super().__init__()
        self.conv1 = _layer(3, 64, 3, 2)
        self.dw_conv1 = _layer(64, 64, 3, 1, groups=64)
        blocks, width = [], 64
        for count, out, inner, stride in _STAGES:
            for index in range(count):
                blocks.append(_Bottleneck(width, out, inner, stride if index == 0 else 1))
                width = out
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = _layer(width, 512, 1, 1)
        self.linear7 = _named(nn.Conv2d(512, 512, (7, 6), groups=512, bias=False), 512)
        self.linear1 = _named(nn.Conv2d(512, FEATURES, 1, bias=False), FEATURES)

    def forward(self, faces: Tensor) -> Tensor:
        """Run the layers."""
        maps = self.conv2(self.blocks(self.dw_conv1(self.conv1(faces))))
        features: Tensor = self.linear1(self.linear7(maps)).flatten(1)
        return features


class _Bottleneck(nn.Module):
    def __init__(self, width: int, out: int, times: int, stride: int) -> None:
        super().__init__()
        inner = width * times
        self.conv = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.PReLU(inner),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.PReLU(inner),
            nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.shortcut = stride == 1 and width == out

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.conv(maps)
        return maps + out if self.shortcut else out


def _layer(width: int, out: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    layer = _named(nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False), out)
    layer.add_module("prelu", nn.PReLU(out))
    return layer


def _named(conv: nn.Conv2d, out: int) -> nn.Sequential:
    layer = nn.Sequential()
    layer.add_module("conv", conv)
    layer.add_module("bn", nn.BatchNorm2d(out))
    return layer


class Identity:
    """An :class:`~model.metrics.extractors.base.IdentityReader`."""

    preprocess_id = f"yunet-similarity-{HEIGHT}x{WIDTH}-v1"

    def __init__(self, net: nn.Module, detector: Yunet, sha256: str) -> None:
        """Measure with a loaded network, which goes to the GPU if there is one, and a detector."""
        self.name, self.weights_sha256 = f"arcface-{sha256[:8]}", sha256
        self._device, self._detector = best_device(), detector
        self._net = net.to(self._device)

    def __call__(self, images: Images) -> tuple[Floats, NDArray[np.bool_]]:
        """Uint8 ``[N, S, S, 3]`` -> unit vectors ``[N, 128]`` (zeros without a face), and where a face was found."""
        check_images(images)
        faces = [self._face(image) for image in images]
        found = np.array([face is not None for face in faces])
        vectors = np.zeros((len(images), FEATURES), dtype=np.float32)
        upright = [face for face in faces if face is not None]
        if upright:
            stack = np.stack(upright).transpose(0, 3, 1, 2)

            def ready(part: slice) -> Tensor:
                return (torch.from_numpy(np.ascontiguousarray(stack[part])).float() - 127.5) / 128.0

            vectors[found] = run_whole(len(stack), ready, self._unit, self._device)
        return vectors, found

    def _unit(self, faces: Tensor) -> Tensor:
        return functional.normalize(self._net(faces))

    def _face(self, image: Images) -> Images | None:
        """Return the largest face set upright, uint8 ``[112, 96, 3]``; None without one."""
        large = [face for face in self._detector.detect(image) if _side(face) >= SMALLEST * len(image)]
        if not large:
            return None
        face = max(large, key=_side)  # the surest of equal ones
        assert face.landmarks is not None
        return upright(image, face.landmarks)


def upright(image: Images, landmarks: Sequence[tuple[float, float]]) -> Images:
    """Set a face upright.

    Args:
        image: uint8 ``[H, W, 3]``.
        landmarks: eyes, nose, corners of the mouth, the viewer's left first; (x, y) in px, a pixel's centre being a
            whole number.

    Returns: uint8 ``[112, 96, 3]``: the similarity that maps the landmarks best, bilinear, black outside the image.
    Source: Umeyama 1991 for the least squares, here in complex numbers.
    """
    source, target = (np.array(points, dtype=np.float64) @ (1, 1j) for points in (landmarks, PLACES))
    a, b = source - source.mean(), target - target.mean()
    turn = np.vdot(a, b) / np.vdot(a, a).real  # scale and rotation
    move = target.mean() - turn * source.mean()
    matrix = np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(image), matrix, (WIDTH, HEIGHT)), dtype=np.uint8)


def open_arcface(network: Path, detector: Path) -> Identity:
    """Load the recogniser and YuNet. Raises: MissingInputError, CorruptInputError."""
    _notice()
    net = built(MobileFaceNet)
    fill(net, read_state(network, "MobileFaceNet", under="net_state_dict"), network, "MobileFaceNet")
    settings = YunetSettings(kind="yunet", file=str(detector), min_score=0.7, min_face=20, max_side=640)
    return Identity(net, Yunet(settings, detector, "weights.lock.yaml: yunet"), digest(network, detector))


@cache
def _notice() -> None:
    _LOG.warning("arcface: weights without a stated licence, trained on CASIA-WebFace: for research only")


def _side(face: Face) -> int:
    return max(face.box.width, face.box.height)
