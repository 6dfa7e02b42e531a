"""The two small networks that ship with the project, as measuring networks: no download, no torchvision, no timm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model.metrics.extractors.base import Floats, Images
from model.metrics.features import AttributeReader, FaceReading, StyleFeatures, batches
from model.metrics.nets import GLANCE, LOOK
from model.shipped import ASSETS


class AttributeFeatures:
    """The style-blind network as a :class:`~model.metrics.extractors.base.PatchExtractor` that also reads faces.

    Its features are what its attributes are read from; its patches are the 4 x 4 places of the last map of its first
    pass, in rows. It was trained to see the same face in every style, so both say how alike two faces are.
    """

    dim = GLANCE + LOOK

    def __init__(self, reader: AttributeReader) -> None:
        """Measure with a loaded network."""
        self.reader = reader
        self.name, self.weights_sha256 = reader.name, reader.weights_sha256
        self.preprocess_id = reader.preprocess_id

    def __call__(self, images: Images) -> Floats:
        """Uint8 images -> float32 ``[N, 160]``, none of them negative."""
        with torch.inference_mode():
            return np.concatenate([self.reader.net.features(part)[0][:n].numpy() for part, n in batches(images)])

    def patches(self, images: Images) -> Floats:
        """Uint8 images -> float32 ``[N, 16, 24]``."""
        with torch.inference_mode():
            maps = [self.reader.net.maps(part)[:n].flatten(2).mT.numpy() for part, n in batches(images)]
        return np.ascontiguousarray(np.concatenate(maps))

    def read(self, images: Images) -> FaceReading:
        """Uint8 images -> attributes and landmarks of the faces on them."""
        return self.reader(images)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes, in their order."""
        return self.reader.attribute_names

    @property
    def eyes(self) -> tuple[int, int]:
        """Rows of the two eye centres among the landmarks."""
        return self.reader.eyes


def open_style_net(assets: Path = ASSETS) -> StyleFeatures:
    """Load the style-sensitive network. Raises: as :func:`model.metrics.features.read_asset`."""
    return StyleFeatures(assets)


def open_attribute_net(assets: Path = ASSETS) -> AttributeFeatures:
    """Load the style-blind network. Raises: as :func:`model.metrics.features.read_asset`."""
    return AttributeFeatures(AttributeReader(assets))
