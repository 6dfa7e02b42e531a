"""Photographed faces with five landmarks by YuNet, a small network that OpenCV runs (``cv2.FaceDetectorYN``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from model.data.faces.boxes import OVERLAP_SAME, Box, Face, cut_square, distinct
from model.data.images import UInt8
from model.errors import CorruptInputError

Float = npt.NDArray[np.float64]

# The network knows faces of 14 to 400 px (boxes; beyond, its scores fall and it sees faces in parts of faces), so
# a page is searched at several sizes, each a quarter of the last.
SMALLEST, LARGEST, STEP = 20, 400, 4
# Landmarks found in passing are coarse. Each face is looked at again at these sizes (px of its box), also mirrored, and
# the mean is taken: on annotated photos the corners of FFHQ's square are then off by 5 % of its side instead of 9 %.
LOOKS, WINDOW = (112, 152, 208), 2.0  # the window shown, in boxes
MIRRORED = [1, 0, 2, 4, 3]  # which landmark is which in a mirror
CANDIDATES = 5000  # boxes looked at before the surest of those that overlap are chosen


@dataclass(frozen=True)
class YunetSettings:
    """How YuNet searches."""

    kind: Literal["yunet"]
    file: str  # lock:yunet stands in weights.lock.yaml; or a path
    min_score: float  # probability from which it is a face; higher means fewer wrong crops and fewer faces
    min_face: int  # px of the page, smallest face box searched; the page is enlarged for faces below 20 px
    max_side: int  # px, the longer side that the network is shown at most: time and memory grow with its square

    def __post_init__(self) -> None:
        """Refuse numbers that find nothing."""
        for bad, rule in (
            (not 0 < self.min_score < 1, f"min_score must be between 0 and 1, found {self.min_score}"),
            (self.min_face < 8, f"min_face must be at least 8 px, found {self.min_face}"),
            (self.max_side < LARGEST, f"max_side must be at least {LARGEST} px, found {self.max_side}"),
        ):
            if bad:
                raise ValueError(rule)


class Yunet:
    """A loaded network; one thread, sorted results, the same on every run."""

    def __init__(self, settings: YunetSettings, file: Path, key: str) -> None:
        """Load ``file`` and try it; CorruptInputError naming it and the params ``key`` if OpenCV cannot run it."""
        self.settings = settings
        cv2.setNumThreads(1)  # the sums of a convolution must not depend on the machine
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(file), "", (64, 64), settings.min_score, OVERLAP_SAME, CANDIDATES
            )
            self._network.detect(np.zeros((64, 64, 3), np.uint8))  # another network loads, and fails only here
        except (cv2.error, SystemError) as error:
            raise CorruptInputError(
                f"{file}: OpenCV {cv2.__version__} cannot run it as a YuNet face detector; "
                f"get the file again (yunet_n_640_640.onnx is known to work) or name another in {key}"
            ) from error

    def detect(self, image: UInt8) -> list[Face]:
        """Find faces in uint8 ``[H, W, 3]``, the surest first; ``score`` is a probability, ``landmarks`` are five."""
        height, width = image.shape[:2]
        found: list[Face] = []
        for scale in scales(height, width, self.settings.min_face, self.settings.max_side):
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            found += self._search(_resized(image, size), width / size[0], height / size[1])
        return [self._closely(image, face) for face in distinct(found)]

    def _closely(self, image: UInt8, face: Face) -> Face:
        """Return ``face`` with better landmarks."""
        box = face.box
        side = round(max(box.width, box.height) * WINDOW)
        window = Box(box.y + (box.height - side) // 2, box.x + (box.width - side) // 2, side, side)
        part = cut_square(image, window)
        seen = []
        for look in LOOKS:
            size = round(look * WINDOW)
            shown = _resized(part, (size, size))
            for picture, order, mirror in ((shown, slice(None), False), (shown[:, ::-1], MIRRORED, True)):
                points = _central(self._rows(picture), size)
                if points is not None:
                    points = np.column_stack([size - points[:, 0], points[:, 1]]) if mirror else points
                    seen.append(points[order] * (side / size) + (window.x, window.y))
        if not seen:
            return face
        return Face(box, face.score, tuple((float(x), float(y)) for x, y in np.mean(seen, axis=0)))

    def _search(self, image: UInt8, across: float, down: float) -> list[Face]:
        """Search one size; ``across`` and ``down`` are px of the page per px of ``image``."""
        faces = []
        for row in self._rows(image):
            x, y, w, h = row[:4] * (across, down, across, down)
            if min(w, h) < self.settings.min_face or not np.isfinite(row).all():
                continue
            points = tuple((float(px * across), float(py * down)) for px, py in row[4:14].reshape(5, 2))
            faces.append(Face(Box(round(y), round(x), round(w), round(h)), float(row[14]), points))
        return faces

    def _rows(self, image: UInt8) -> Float:
        """Run the network: ``[N, 15]`` of x, y, width, height, five points, score; px of ``image``."""
        self._network.setInputSize((image.shape[1], image.shape[0]))
        rows = self._network.detect(np.ascontiguousarray(image[:, :, ::-1]))[1]  # it learnt from BGR
        return np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64)


def scales(height: int, width: int, min_face: int, max_side: int) -> list[float]:
    """Return the sizes at which a page is searched, as factors, so that faces from ``min_face`` px up are seen whole.

    The first shows the smallest face at 20 px (or less, where ``max_side`` forbids); in the last, no face that fits
    on the page is over 400 px.
    """
    longest = max(height, width)
    factors = [min(SMALLEST / min_face, max_side / longest)]
    while longest * factors[-1] > LARGEST:
        factors.append(factors[-1] / STEP)
    return factors


def _central(rows: Float, size: int) -> Float | None:
    """Return the landmarks ``[5, 2]`` of the face in the middle of a window of ``size`` px, if it was found there."""
    if not len(rows):
        return None
    apart = np.hypot(*(rows[:, :2] + rows[:, 2:4] / 2 - size / 2).T)
    nearest = int(np.argmin(apart))
    if apart[nearest] > size / WINDOW / 3 or not 0.5 < rows[nearest, 2] * WINDOW / size < 2:
        return None
    return rows[nearest, 4:14].reshape(5, 2)


def _resized(image: UInt8, size: tuple[int, int]) -> UInt8:
    """Resize to ``(width, height)``; what is read is then a mean of pixels, never one of many."""
    smaller = size[0] < image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=how), dtype=np.uint8)
