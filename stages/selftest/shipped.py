"""What ships with the project computes what it computed when it was shipped; needs nothing else."""

from __future__ import annotations

import numpy as np

from model.metrics.extractors.base import FeatureExtractor, Images
from model.metrics.extractors.shipped import open_attribute_net, open_style_net
from model.metrics.frechet import frechet_distance
from model.shipped import shipped
from stages.selftest.check import Check, NotRun, within

ASSETS = ("style_net", "attribute_net", "synthetic-photo-64")
# sha256 of the weights -> mean size of the features of :func:`picture` by them
KNOWN = {
    "61b4f7b5e472d4f2e571c60157e47b383ed8178a7e6e74db69bb51d1912d07d2": 0.552155316,
    "cf7b9d1034b42b33de8428b453b62046ef64e85da8865bf6ffbb2fb13a3f656f": 0.842370629,
}
TOLERANCE = 1e-4  # processors round differently
SHIFT = 3.0


def checks() -> list[Check]:
    """Return the checks that every machine can make."""
    return [
        Check("shipped weights", _intact),
        Check("style network", lambda: _computes(open_style_net())),
        Check("attribute network", lambda: _computes(open_attribute_net())),
        Check("Frechet distance", _distance),
    ]


def picture() -> Images:
    """Return colours that run over a square, uint8 ``[1, 64, 64, 3]``."""
    rows, columns = np.mgrid[:64, :64]
    return np.stack([4 * rows, 4 * columns, 255 - 2 * (rows + columns)], axis=-1).clip(0, 255).astype(np.uint8)[None]


def _intact() -> tuple[bool, str]:
    for name in ASSETS:
        shipped(name)
    return True, f"{len(ASSETS)} files are as their manifest says"


def _computes(extractor: FeatureExtractor) -> tuple[bool, str]:
    known = KNOWN.get(extractor.weights_sha256)
    if known is None:
        raise NotRun(f"{extractor.name} was trained anew; nothing is known about it (git checkout model/assets)")
    found = float(np.abs(extractor(picture())).mean())
    return within(f"mean size of a feature by {extractor.name}", found, known - TOLERANCE, known + TOLERANCE)


def _distance() -> tuple[bool, str]:
    points = np.random.default_rng(0).standard_normal((500, 16))
    moved = points + SHIFT / 4  # by 3 in all, in 16 dimensions
    return within("distance of two equal clouds 3 apart", frechet_distance(points, moved), 9 - 1e-9, 9 + 1e-9)
