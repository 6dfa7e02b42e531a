"""LPIPS' own example: how far two damaged patches are from the one they were made of.

Source: richzhang/PerceptualSimilarity, imgs/ex_*.png and what its example program prints for AlexNet, v0.1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.data.images import read_image
from model.errors import MissingInputError
from model.metrics.extractors.lpips import open_lpips_alex
from stages.fetch.weights import ensure
from stages.selftest.check import Check, NotRun

FILES = ("ex_ref.png", "ex_p0.png", "ex_p1.png")
EXPECTED = (0.722, 0.138)
TOLERANCE = 0.001  # three digits are published


def check(folder: Path | None) -> Check:
    """Return the check; ``folder`` holds the three pictures."""
    return Check("LPIPS of its example", lambda: _compare(folder))


def _compare(folder: Path | None) -> tuple[bool, str]:
    if folder is None:
        raise NotRun(f"needs {', '.join(FILES)} of richzhang/PerceptualSimilarity (imgs); give --lpips FOLDER")
    for name in FILES:
        if not (folder / name).is_file():
            raise MissingInputError(f"{folder / name}: no such file; get imgs/{name} of richzhang/PerceptualSimilarity")
    reference, *others = (read_image(folder / name)[None] for name in FILES)
    measure = open_lpips_alex(ensure("alexnet"), ensure("lpips_alex"))
    found = [float(measure(reference, other)[0]) for other in others]
    words = " and ".join(f"{distance:.3f}" for distance in found)
    passed = bool(np.allclose(found, EXPECTED, rtol=0, atol=TOLERANCE))
    return passed, f"distances by {measure.name} are {words}, expected {EXPECTED[0]} and {EXPECTED[1]}"
