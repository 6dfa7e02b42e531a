"""Features of pictures that were seen before: cells of a sweep that draw the same picture are measured once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from model.metrics.extractors.base import FeatureExtractor, Floats, Images, PatchExtractor


class CachedFeatures:
    """A :class:`~model.metrics.extractors.base.FeatureExtractor` that keeps each image's features, by its content.

    A kept row is bit-equal to a measured one, because an image's features do not depend on its company.
    """

    def __init__(self, extractor: FeatureExtractor, most_bytes: int) -> None:
        """Keep at most ``most_bytes`` of results of ``extractor``; beyond, those unused for longest are dropped."""
        self.extractor = extractor
        self.name, self.dim = extractor.name, extractor.dim
        self.weights_sha256, self.preprocess_id = extractor.weights_sha256, extractor.preprocess_id
        self.taken = 0  # images that really went through the network
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, Floats] = OrderedDict()
        self._bytes = 0

    def __call__(self, images: Images) -> Floats:
        """Uint8 ``[N, H, W, 3]`` -> float32 ``[N, dim]``."""
        return self._through(images, "features", self.extractor)

    def _through(self, images: Images, what: str, measure: Callable[[Images], Floats]) -> Floats:
        """Measure the images that are not kept, each content once."""
        if not len(images):
            return measure(images)  # says what is wrong with it
        keys = [self._key(image, what) for image in images]
        rows = {key: self._kept[key] for key in keys if key in self._kept}
        new: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key not in rows:
                new.setdefault(key, index)
        if new:
            measured = measure(images[list(new.values())])
            self.taken += len(new)
            rows.update((key, measured[place].copy()) for place, key in enumerate(new))
        for key in keys:
            self._keep(key, rows[key])
        return np.stack([rows[key] for key in keys])

    def _key(self, image: Images, what: str) -> bytes:
        about = f"{what} {self.preprocess_id} {self.weights_sha256} {image.shape} {image.dtype}"
        return hashlib.sha256(about.encode() + np.ascontiguousarray(image).tobytes()).digest()

    def _keep(self, key: bytes, row: Floats) -> None:
        if key not in self._kept:
            self._kept[key] = row
            self._bytes += row.nbytes
        self._kept.move_to_end(key)
        while self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


class CachedPatches(CachedFeatures):
    """The same for an extractor that sees places."""

    def __init__(self, extractor: PatchExtractor, most_bytes: int) -> None:
        """Keep at most ``most_bytes`` of features and patches together."""
        super().__init__(extractor, most_bytes)
        self._places = extractor.patches

    def patches(self, images: Images) -> Floats:
        """Uint8 ``[N, H, W, 3]`` -> float32 ``[N, P, d]``."""
        return self._through(images, "patches", self._places)


def cached(extractor: FeatureExtractor, most_bytes: int) -> CachedFeatures:
    """Wrap an extractor; one that has patches still has them."""
    if isinstance(extractor, PatchExtractor):
        return CachedPatches(extractor, most_bytes)
    return CachedFeatures(extractor, most_bytes)
