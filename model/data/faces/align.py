"""The frame of FFHQ: a face turned upright by its landmarks and cut so that eyes and mouth have fixed places.

Source: Karras et al. 2018 (progressive growing, appendix C, "high-quality CelebA-HQ") and 2019 (StyleGAN, appendix A,
FFHQ). Written for 68 landmarks (iBUG 300-W); five give nearly the same: a detector's eye centre stands for the mean
of six points around the eye, the corners of the mouth are the same two points.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from model.data.faces.boxes import Points
from model.data.images import UInt8, resize

Float = npt.NDArray[np.float64]

# Half the side of the square is the larger of two lengths; its centre lies a little below the eyes.
EYE_SPANS, MOUTH_SPANS, BELOW_EYES = 2.0, 1.8, 0.1
PAD, FEATHER, BLUR = 0.3, 3.0, 0.02  # of the side: least padding; share of it that fades inwards is 1/3; blur
MARGIN = 0.1  # of the side: what is kept around the square, for the filters to read
OVERSAMPLED = 4  # a square of more than this many times the wanted px is reduced before it is turned


class Key(NamedTuple):
    """The four places that the frame is made from, each (x, y) in px of the page."""

    left_eye: Float  # the viewer's left
    right_eye: Float
    left_mouth: Float  # corner
    right_mouth: Float


def key_points(landmarks: Points) -> Key:
    """Return eye centres and corners of the mouth of 5 or 68 landmarks; ValueError for another number."""
    points = np.array(landmarks, dtype=np.float64).reshape(-1, 2)
    if len(points) == 5:
        return Key(points[0], points[1], points[3], points[4])
    if len(points) == 68:
        return Key(points[36:42].mean(0), points[42:48].mean(0), points[48], points[54])
    raise ValueError(f"alignment wants 5 or 68 landmarks, found {len(points)}")


def ffhq_quad(landmarks: Points, expand: float) -> Float:
    """Return the corners of the square that FFHQ would cut.

    Args:
        landmarks: 5 or 68, (x, y) in px of the page, a pixel's centre being a whole number.
        expand: side of the square, in FFHQ's; 1 for its own frame.

    Returns: ``[4, 2]``: top left, bottom left, bottom right, top right, as seen on the upright face.
    Raises: ValueError for other landmarks, and for a mouth that is not below the eyes: then there is no upright.
    """
    key = key_points(landmarks)
    eyes, mouth = (key.left_eye + key.right_eye) / 2, (key.left_mouth + key.right_mouth) / 2
    eye_to_eye, eye_to_mouth = key.right_eye - key.left_eye, mouth - eyes
    level = -_quarter_turn(eye_to_mouth)  # both say which way is right; for frontal faces they agree
    if not np.isfinite([eye_to_eye, eye_to_mouth]).all() or eye_to_eye @ level <= 0:
        raise ValueError("the mouth is not below the eyes")
    right = eye_to_eye + level
    right *= max(EYE_SPANS * np.hypot(*eye_to_eye), MOUTH_SPANS * np.hypot(*eye_to_mouth)) / np.hypot(*right)
    right *= expand
    down = _quarter_turn(right)
    centre = eyes + BELOW_EYES * eye_to_mouth
    return np.stack([centre - right - down, centre - right + down, centre + right + down, centre + right - down])


def as_points(quad: Float) -> Points:
    """Return the corners of a square as plain numbers."""
    return tuple((float(x), float(y)) for x, y in quad)


def quad_side(quad: Float) -> float:
    """Return the side of a square ``[4, 2]``, px."""
    return float(np.hypot(*(quad[3] - quad[0])))


def share_outside(quad: Float, height: int, width: int) -> float:
    """Return the share of a square ``[4, 2]`` that lies outside a page of ``height`` x ``width`` px."""
    page = np.array([[0, 0], [0, height], [width, height], [width, 0]], dtype=np.float32)
    inside, _ = cv2.intersectConvexConvex((quad + 0.5).astype(np.float32), page)
    return max(0.0, 1.0 - inside / quad_side(quad) ** 2)


def cut_quad(image: UInt8, quad: Float, resolution: int) -> UInt8:
    """Turn the square ``quad`` of a page upright and resize it to ``resolution`` px, antialiased.

    What lies outside the page is its mirror image, blurred and fading to the page's median colour, as in FFHQ.

    Args:
        image: uint8 ``[H, W, 3]``.
        quad: ``[4, 2]``, corners as :func:`ffhq_quad` gives them.
        resolution: px of the result.

    Returns: uint8 ``[resolution, resolution, 3]``.
    """
    image, quad = _reduced(image, quad, resolution)
    image, quad = _around(image, quad)
    # As many samples as the page has pixels there, or a little more: turning then loses nothing, and the one policy
    # of resizing takes away what the crop cannot show.
    samples = resolution * max(1, int(np.ceil(quad_side(quad) / resolution)))
    across, down = (quad[3] - quad[0]) / samples, (quad[1] - quad[0]) / samples
    start = quad[0] + 0.5  # Pillow counts from a pixel's corner
    turn = (across[0], down[0], start[0], across[1], down[1], start[1])
    turned = Image.fromarray(image).transform(
        (samples, samples), Image.Transform.AFFINE, turn, Image.Resampling.BICUBIC
    )
    return resize(np.array(turned, dtype=np.uint8), resolution)


def _quarter_turn(v: Float) -> Float:
    """Turn a vector clockwise on the page: right becomes down."""
    return np.array([-v[1], v[0]])


def _reduced(image: UInt8, quad: Float, resolution: int) -> tuple[UInt8, Float]:
    """Reduce a page whose square is many times the wanted size, by a whole number."""
    by = int(quad_side(quad) / (OVERSAMPLED * resolution))
    if by <= 1:
        return image, quad
    height, width = image.shape[:2]
    size = max(width // by, 1), max(height // by, 1)
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    scale = np.array([size[0] / width, size[1] / height])
    return np.asarray(small, dtype=np.uint8), (quad + 0.5) * scale - 0.5


def _around(image: UInt8, quad: Float) -> tuple[UInt8, Float]:
    """Cut what the square needs, with a margin; extend the page where it leaves it."""
    height, width = image.shape[:2]
    side = quad_side(quad)
    margin = max(int(np.rint(side * MARGIN)), 3)
    low = np.floor(quad.min(0)).astype(int) - margin
    high = np.ceil(quad.max(0)).astype(int) + 1 + margin
    left, top = max(low[0], 0), max(low[1], 0)
    right, bottom = min(high[0], width), min(high[1], height)
    part = image[top:bottom, left:right]
    missing = np.array([left - low[0], top - low[1], high[0] - right, high[1] - bottom])  # left, top, right, bottom
    quad = quad - (left, top)
    if missing.max() <= margin - 3:  # only the margin leaves the page
        return np.ascontiguousarray(part), quad
    pads = np.maximum(missing, int(np.rint(side * PAD)))
    return _extended(part, pads, side * BLUR), quad + pads[:2]


def _extended(part: UInt8, pads: npt.NDArray[np.int64], blur: float) -> UInt8:
    """Mirror ``part`` outwards by ``pads`` (left, top, right, bottom; px), blurred and fading to its median colour."""
    left, top, right, bottom = (int(pad) for pad in pads)
    mirrored = np.pad(part, ((top, bottom), (left, right), (0, 0)), mode="reflect").astype(np.float32)
    height, width = mirrored.shape[:2]
    # 0 where the page ends, 1 at the outer edge, negative inside the page
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    across = np.minimum(columns / left, (width - 1 - columns) / right)
    down = np.minimum(rows / top, (height - 1 - rows) / bottom)
    outwards = (1 - np.minimum(across, down))[:, :, None]
    blurred = cv2.GaussianBlur(mirrored, (0, 0), blur, borderType=cv2.BORDER_REFLECT_101)
    mirrored += (blurred - mirrored) * np.clip(outwards * FEATHER + 1, 0, 1)
    mirrored += (np.median(mirrored, axis=(0, 1)) - mirrored) * np.clip(outwards, 0, 1)
    return np.clip(np.rint(mirrored), 0, 255).astype(np.uint8)
