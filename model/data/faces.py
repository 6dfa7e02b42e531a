"""Faces in pictures: find them with an OpenCV cascade, cut a square around each, say why one is not used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from model.data.images import UInt8, centre_square, resize
from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file

STRIP = 3.0  # an image this many times longer than wide is searched in tiles
OVERLAP_SAME = 0.3  # intersection over union from which two boxes are one face
INSIDE_SAME = 0.6  # share of the smaller box inside the larger one from which they are one face
# Equalisation is local: over a whole page that is mostly paper it squeezes the faces into a few grey values
# and the frontal Haar cascade then finds none of 40 (37 of 40 with this, or without).
CONTRAST, CELLS = 2.0, 8
SHARPNESS_PX = 64  # crops are compared for sharpness at this size, whatever their own
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectorSettings:
    """How one kind of face (``photo``, ``anime``) is found and framed."""

    cascade: str  # a file, or the name of one that OpenCV ships (haarcascade_frontalface_default.xml)
    sha256: str | None  # of the cascade file; null = any
    scale_factor: float  # between the sizes searched; closer to 1 is slower and finds more
    min_neighbors: int  # windows that must agree on a face; higher means fewer wrong crops and fewer faces
    mirror: bool  # search the mirrored image too and add up the windows: twice the time, fewer wrong crops
    equalise: bool  # even out the contrast from place to place (CLAHE) before searching
    min_face: int  # px of the page, smallest face box searched
    expand: float  # side of the square cut out, in face boxes
    shift_down: float  # move of the square, in face boxes; negative is up (more hair)
    min_side: int  # px of the page that the square must have; below the crop resolution means enlarging
    max_outside: float  # share of the square that may lie outside the page; its edge is repeated there
    min_sharpness: float  # variance of the Laplacian at 64 px; below it a crop is blurred
    max_per_image: int  # faces kept per page, the surest first

    def __post_init__(self) -> None:
        """Refuse numbers that OpenCV would not survive."""
        for bad, rule in (
            (self.scale_factor <= 1, f"scale_factor must be above 1, found {self.scale_factor}"),
            (self.expand < 1, f"expand must be at least 1 (the face box itself), found {self.expand}"),
            (self.min_face < 8, f"min_face must be at least 8 px, found {self.min_face}"),
            (self.min_neighbors < 1, f"min_neighbors must be at least 1, found {self.min_neighbors}"),
            (self.max_per_image < 1, f"max_per_image must be at least 1, found {self.max_per_image}"),
            (not 0 <= self.max_outside < 1, f"max_outside must be in [0, 1), found {self.max_outside}"),
        ):
            if bad:
                raise ValueError(rule)


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle in px of the page; ``evidence`` is the number of search windows that agree on it."""

    y: int
    x: int
    width: int
    height: int
    evidence: int = 0


@dataclass(frozen=True)
class FaceCrop:
    """A face and what became of it: ``pixels`` if it is used, ``dropped`` (the reason) if not."""

    box: Box
    square: Box
    pixels: UInt8 | None
    dropped: str | None


class FaceDetector:
    """An OpenCV cascade with its settings; one thread, sorted results, the same on every run."""

    def __init__(self, name: str, settings: DetectorSettings) -> None:
        """Find, check and load the cascade file.

        Raises: MissingInputError or CorruptInputError naming the file and the params key.
        """
        self.name, self.settings = name, settings
        self.file = _cascade_file(settings.cascade, f"crop.detectors.{name}.cascade")
        self.sha256 = sha256_file(self.file)
        if settings.sha256 is not None and settings.sha256 != self.sha256:
            raise CorruptInputError(
                f"{self.file}: sha256 {self.sha256}, but crop.detectors.{name}.sha256 says {settings.sha256}; "
                "get the right file, or correct the number if this one is meant"
            )
        self._cascade = self._load()

    def _load(self) -> cv2.CascadeClassifier:
        cv2.setNumThreads(1)  # more threads return the same faces in another order
        cascade = cv2.CascadeClassifier()
        try:
            loaded = cascade.load(str(self.file))
        except (cv2.error, SystemError):
            loaded = False
        if not loaded or cascade.empty():
            raise CorruptInputError(
                f"{self.file}: OpenCV {cv2.__version__} cannot read it as a cascade; "
                f"get the file again or name another in crop.detectors.{self.name}.cascade"
            )
        return cascade

    def detect(self, image: UInt8) -> list[Box]:
        """Find faces in uint8 ``[H, W, 3]``; boxes in px, the surest first."""
        height, width = image.shape[:2]
        found: list[Box] = []
        for top, left, bottom, right in tiles(height, width):
            found += [
                Box(b.y + top, b.x + left, b.width, b.height, b.evidence)
                for b in self._search(image[top:bottom, left:right])
            ]
        return _distinct(found)

    def _search(self, image: UInt8) -> list[Box]:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        if self.settings.equalise:
            grey = np.asarray(cv2.createCLAHE(CONTRAST, (CELLS, CELLS)).apply(grey), dtype=np.uint8)
        if not self.settings.mirror:
            return self._windows(grey, self.settings.min_neighbors)
        plain = self._windows(grey, 1)
        mirrored = [
            Box(b.y, grey.shape[1] - b.x - b.width, b.width, b.height, b.evidence)
            for b in self._windows(np.ascontiguousarray(grey[:, ::-1]), 1)
        ]
        both = []
        for box in plain:
            agreeing = max((m.evidence for m in mirrored if _overlap(box, m)[0] > OVERLAP_SAME), default=0)
            if box.evidence + agreeing >= self.settings.min_neighbors:
                both.append(Box(box.y, box.x, box.width, box.height, box.evidence + agreeing))
        return both

    def _windows(self, grey: UInt8, neighbors: int) -> list[Box]:
        smallest = (self.settings.min_face, self.settings.min_face)
        if min(grey.shape) < self.settings.min_face:
            return []
        boxes, counts = self._cascade.detectMultiScale2(grey, self.settings.scale_factor, neighbors, minSize=smallest)
        return [
            Box(int(y), int(x), int(w), int(h), int(n)) for (x, y, w, h), n in zip(boxes, np.ravel(counts), strict=True)
        ]


def face_crops(image: UInt8, detector: FaceDetector, resolution: int) -> list[FaceCrop]:
    """Find the faces of a page and cut a square around each.

    Args:
        image: uint8 ``[H, W, 3]``.
        detector: what finds faces, and its settings for framing and dropping.
        resolution: px of the crops.

    Returns: every face found, in reading order (top to bottom), those not used with the reason.
    """
    crops = []
    kept = 0
    for box in detector.detect(image):
        crop = _cut(image, box, detector.settings, resolution, full=kept >= detector.settings.max_per_image)
        kept += crop.pixels is not None
        crops.append(crop)
    return sorted(crops, key=lambda crop: crop.box)


def whole_image(image: UInt8, resolution: int) -> FaceCrop:
    """Treat an image as one face crop already: its centred square, refused if it would have to be enlarged."""
    height, width = image.shape[:2]
    side = min(height, width)
    square = Box((height - side) // 2, (width - side) // 2, side, side)
    if side < resolution:
        return FaceCrop(square, square, None, f"too small: {side} px, a crop has {resolution}")
    return FaceCrop(square, square, resize(centre_square(image), resolution), None)


def _cut(image: UInt8, box: Box, settings: DetectorSettings, resolution: int, full: bool) -> FaceCrop:
    square = square_around(box, settings.expand, settings.shift_down)
    outside = 1 - _inside(square, image.shape[0], image.shape[1])
    reason = None
    if square.width < settings.min_side:
        reason = f"too small: {square.width} px, crop.detectors min_side is {settings.min_side}"
    elif outside > settings.max_outside:
        reason = f"border: {outside:.0%} of it lies outside the page"
    elif full:
        reason = f"surplus: more than {settings.max_per_image} faces on the page"
    if reason is not None:
        return FaceCrop(box, square, None, reason)
    pixels = resize(cut_square(image, square), resolution)
    sharp = sharpness(pixels)
    if sharp < settings.min_sharpness:
        return FaceCrop(box, square, None, f"blurred: sharpness {sharp:.0f} below {settings.min_sharpness:g}")
    return FaceCrop(box, square, pixels, None)


def square_around(box: Box, expand: float, shift_down: float) -> Box:
    """Return the square of side ``expand`` face boxes around ``box``, moved down by ``shift_down`` face boxes."""
    size = (box.width + box.height) / 2
    side = round(size * expand)
    left = round(box.x + box.width / 2 - side / 2)
    top = round(box.y + box.height / 2 + size * shift_down - side / 2)
    return Box(top, left, side, side, box.evidence)


def cut_square(image: UInt8, square: Box) -> UInt8:
    """Cut ``square`` out of ``[H, W, 3]``; where it leaves the page the page's edge is repeated."""
    rows = np.clip(np.arange(square.y, square.y + square.height), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(square.x, square.x + square.width), 0, image.shape[1] - 1)
    return image[rows[:, None], columns[None, :]]


def sharpness(pixels: UInt8) -> float:
    """Variance of the Laplacian of a square crop at 64 px: near 0 is blurred, drawings reach thousands.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    small = pixels if pixels.shape[0] < SHARPNESS_PX else resize(pixels, SHARPNESS_PX)
    return float(cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def tiles(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Divide a strip into overlapping tiles twice as long as wide (top, left, bottom, right); others stay whole.

    Neighbours share a square as wide as the strip, so every face lies whole in some tile.
    """
    short, long = min(height, width), max(height, width)
    if long < STRIP * short:
        return [(0, 0, height, width)]
    count = -(-(long - short) // short)
    starts = [round(i * (long - 2 * short) / (count - 1)) for i in range(count)]
    assert all(b - a <= short for a, b in pairwise(starts))
    if height >= width:
        return [(start, 0, start + 2 * short, width) for start in starts]
    return [(0, start, height, start + 2 * short) for start in starts]


def _distinct(boxes: Sequence[Box]) -> list[Box]:
    """Keep the surest of boxes that show the same face; order: surest first, then top to bottom."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: (-b.evidence, b)):
        overlaps = (_overlap(box, other) for other in kept)
        if not any(union > OVERLAP_SAME or inside > INSIDE_SAME for union, inside in overlaps):
            kept.append(box)
    return kept


def _overlap(a: Box, b: Box) -> tuple[float, float]:
    """Return intersection over union, and intersection over the smaller box."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(width, 0) * max(height, 0)
    areas = (a.width * a.height, b.width * b.height)
    return shared / (sum(areas) - shared), shared / min(areas)


def _inside(square: Box, height: int, width: int) -> float:
    page = Box(0, 0, width, height)
    across = min(square.x + square.width, page.width) - max(square.x, 0)
    down = min(square.y + square.height, page.height) - max(square.y, 0)
    return max(across, 0) * max(down, 0) / (square.width * square.height)


def _cascade_file(name: str, key: str) -> Path:
    shipped = Path(cv2.data.haarcascades)  # type: ignore[attr-defined,unused-ignore]
    for path in (Path(name), shipped / name):
        if path.is_file():
            return path
    frontal = ", ".join(sorted(path.name for path in shipped.glob("*frontalface*.xml")))
    raise MissingInputError(f"{name}: no such cascade file ({key}); give a path, or a file of OpenCV's own: {frontal}")
