"""The crop of each face of a page, and why one is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2

from model.data.faces.boxes import Box, Face, Points
from model.data.faces.frames import FrameSettings, framed
from model.data.images import UInt8, centre_square, resize

SHARPNESS_PX = 64  # crops are compared for sharpness at this size, whatever their own
MOST_DUPLICATE_BITS = 20  # unrelated pictures differ in 32 of 64 bits, by chance now and then in 21


@dataclass(frozen=True)
class FilterSettings:
    """Which crops are not used."""

    min_side: int  # px of the page that the square must have; below the crop resolution means enlarging
    max_outside: float  # share of the square that may lie outside the page; it is filled from the page there
    min_sharpness: float  # variance of the Laplacian at 64 px; below it a crop is blurred
    max_per_image: int  # faces kept per page (per slice of a strip), the surest first
    near_duplicates: Literal["keep", "drop"]  # crops of the whole dataset that look alike; the first is always kept
    duplicate_bits: int  # of the 64 of a perceptual hash, in which crops that look alike may differ

    def __post_init__(self) -> None:
        """Refuse filters that let nothing through."""
        if not 0 <= self.duplicate_bits <= MOST_DUPLICATE_BITS:
            raise ValueError(f"duplicate_bits must be in [0, {MOST_DUPLICATE_BITS}], found {self.duplicate_bits}")
        if self.max_per_image < 1:
            raise ValueError(f"max_per_image must be at least 1, found {self.max_per_image}")
        if not 0 <= self.max_outside < 1:
            raise ValueError(f"max_outside must be in [0, 1), found {self.max_outside}")


@dataclass(frozen=True)
class FaceCrop:
    """A face and what became of it: ``pixels`` if it is used, ``dropped`` (the reason) if not."""

    face: Face
    square: Box  # upright; of a turned square the upright one of the same centre and size
    pixels: UInt8 | None
    dropped: str | None
    quad: Points | None = None  # corners of a turned square, as ``frames.Framed`` has them


def face_crops(
    image: UInt8, faces: Sequence[Face], frame: FrameSettings, filters: FilterSettings, resolution: int
) -> list[FaceCrop]:
    """Cut a square around each face of a page.

    Args:
        image: uint8 ``[H, W, 3]``.
        faces: on it, the surest first.
        frame: which part of the page is cut around a face.
        filters: which crops are not used.
        resolution: px of the crops.

    Returns: every face, in reading order (top to bottom), those not used with the reason.
    """
    crops = []
    kept = 0
    for face in faces:
        crop = _cut(image, face, frame, filters, resolution)
        if crop.pixels is not None and kept >= filters.max_per_image:
            reason = f"surplus: more than {filters.max_per_image} faces on the page"
            crop = FaceCrop(face, crop.square, None, reason, crop.quad)
        kept += crop.pixels is not None
        crops.append(crop)
    return sorted(crops, key=lambda crop: crop.face)


def whole_image(image: UInt8, resolution: int) -> FaceCrop:
    """Treat an image as one face crop already: its centred square, refused if it would have to be enlarged."""
    height, width = image.shape[:2]
    side = min(height, width)
    square = Box((height - side) // 2, (width - side) // 2, side, side)
    face = Face(square, 0.0, None)
    if side < resolution:
        return FaceCrop(face, square, None, f"too small: {side} px, a crop has {resolution}")
    return FaceCrop(face, square, resize(centre_square(image), resolution), None)


def _cut(image: UInt8, face: Face, frame: FrameSettings, filters: FilterSettings, resolution: int) -> FaceCrop:
    part = framed(face, frame, image.shape[0], image.shape[1])
    if isinstance(part, str):
        return FaceCrop(face, face.box, None, part)
    square, quad = part.square, part.quad
    reason = None
    if square.width < filters.min_side:
        reason = f"too small: {square.width} px, min_side is {filters.min_side}"
    elif part.outside > filters.max_outside:
        reason = f"border: {part.outside:.0%} of it lies outside the page"
    if reason is not None:
        return FaceCrop(face, square, None, reason, quad)
    pixels = part.cut(image, resolution)
    sharp = sharpness(pixels)
    if sharp < filters.min_sharpness:
        return FaceCrop(face, square, None, f"blurred: sharpness {sharp:.0f} below {filters.min_sharpness:g}", quad)
    return FaceCrop(face, square, pixels, None, quad)


def sharpness(pixels: UInt8) -> float:
    """Variance of the Laplacian of a square crop at 64 px: near 0 is blurred, drawings reach thousands.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    small = pixels if pixels.shape[0] < SHARPNESS_PX else resize(pixels, SHARPNESS_PX)
    return float(cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
