"""What a measuring network is to everything that measures with it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # [N, H, W, 3]
Floats = NDArray[np.float32]


class Instrument(Protocol):
    """Anything that measures with weights."""

    @property
    def name(self) -> str:
        """Kind and first eight digits of the weights' sha256, ``inception-0123abcd``: goes into metrics' names."""

    @property
    def weights_sha256(self) -> str:
        """Hash of the weight file (of several: of their hashes)."""

    @property
    def preprocess_id(self) -> str:
        """Resize and normalisation with a version, ``clean-299-v1``: other preprocessing, other features."""


@runtime_checkable
class FeatureExtractor(Instrument, Protocol):
    """Anything FID, KID and precision/recall can be computed on. An image's features do not depend on its company."""

    @property
    def dim(self) -> int:
        """Features per image."""

    def __call__(self, images: Images) -> Floats:
        """Uint8 ``[N, H, W, 3]`` -> float32 ``[N, dim]``."""


@runtime_checkable
class PatchExtractor(FeatureExtractor, Protocol):
    """An extractor that also sees where things are."""

    def patches(self, images: Images) -> Floats:
        """Uint8 ``[N, H, W, 3]`` -> float32 ``[N, P, d]``: one vector per place of a fixed grid."""


@runtime_checkable
class PairDistance(Instrument, Protocol):
    """A perceptual distance between two images (LPIPS)."""

    def __call__(self, first: Images, second: Images) -> NDArray[np.float64]:
        """Two uint8 ``[N, H, W, 3]`` -> one distance per pair, ``[N]``."""


@runtime_checkable
class IdentityReader(Instrument, Protocol):
    """Recognises people, where it finds a face at all."""

    def __call__(self, images: Images) -> tuple[Floats, NDArray[np.bool_]]:
        """Uint8 ``[N, H, W, 3]`` -> unit vectors ``[N, d]`` (zeros without a face), and where a face was found."""
