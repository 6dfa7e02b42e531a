"""Do the measuring networks measure? Their report on faces they have not learnt from."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from model.metrics.features import AttributeReader, StyleFeatures
from model.metrics.fit import ProbeSet
from model.metrics.frechet import frechet_distance
from model.metrics.kid import kid
from model.metrics.similarity import attribute_correlation, attribute_mse, derangement, landmark_nme

BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)


def attribute_report(reader: AttributeReader, faces: ProbeSet) -> dict[str, Any]:
    """Errors of the style-blind network in every style, and how it sees the same face drawn in two of them."""
    truth = reader.standardise(faces.attributes)
    readings = [reader(faces.images[:, style]) for style in range(len(faces.style_names))]
    shuffled = derangement(len(truth), seed=0)
    report: dict[str, Any] = {}
    for name, seen in zip(faces.style_names, readings, strict=True):
        correlation = attribute_correlation(truth, seen.attributes)
        report[name] = {
            "landmark_nme": float(landmark_nme(faces.points, seen.points, reader.eyes).mean()),
            "attribute_mse": float(attribute_mse(truth, seen.attributes).mean()),
            "correlation": dict(zip(faces.attribute_names, correlation.round(4).tolist(), strict=True)),
        }
    for (a, first), (b, second) in combinations(zip(faces.style_names, readings, strict=True), 2):
        report[f"{a}-{b}"] = {
            "landmark_nme": float(landmark_nme(first.points, second.points, reader.eyes).mean()),
            "landmark_nme_shuffled": float(landmark_nme(first.points, second.points[shuffled], reader.eyes).mean()),
            "attribute_mse": float(attribute_mse(first.attributes, second.attributes).mean()),
            "attribute_mse_shuffled": float(attribute_mse(first.attributes, second.attributes[shuffled]).mean()),
        }
    return report


def style_report(extractor: StyleFeatures, faces: ProbeSet) -> dict[str, Any]:
    """Distances of the style-sensitive features: between styles, within a style, along a blend, under damage.

    The two sides of every distance show different faces.
    """
    half = len(faces.images) // 2
    styles = range(len(faces.style_names))
    left = [extractor(faces.images[:half, style]) for style in styles]
    right = [extractor(faces.images[half:, style]) for style in styles]
    report: dict[str, Any] = {"extractor": extractor.name, "images_per_side": half, "fd": {}, "kid_x1e3": {}}
    for a in styles:
        for b in styles[a:]:
            pair = f"{faces.style_names[a]}-{faces.style_names[b]}"
            report["fd"][pair] = frechet_distance(left[a], right[b])
            report["kid_x1e3"][pair] = 1e3 * kid(left[a], right[b]).value
    for target in styles[1:]:
        name, drawn = faces.style_names[target], faces.images[:half, target]
        blends = {str(share): _mix(faces.images[:half, 0], drawn, share) for share in BLENDS}
        noisy = {str(level): _noisy(drawn, level) for level in (0, 4, 8, 16, 32)}
        blurred = {str(size): _blurred(drawn, size) for size in (1, 2, 4)}
        for kind, steps in (("blend_from_photo", blends), ("noise", noisy), ("pixelate", blurred)):
            distances = {step: frechet_distance(extractor(images), right[target]) for step, images in steps.items()}
            report[f"{kind}_{name}"] = distances
    return report


def _mix(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return ((1.0 - share) * a + share * b).round().astype(np.uint8)


def _noisy(images: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.Generator(np.random.Philox(key=0)).normal(0.0, sigma, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def _blurred(images: np.ndarray, cell: int) -> np.ndarray:
    """Averages over cells of ``cell`` px, back at the old size."""
    n, height, width, channels = images.shape
    cells = images.reshape(n, height // cell, cell, width // cell, cell, channels).mean(axis=(2, 4))
    coarse: np.ndarray = cells.round().astype(np.uint8)
    return coarse.repeat(cell, axis=1).repeat(cell, axis=2)
