"""Image files in and out: every common format becomes uint8 ``[H, W, 3]`` in sRGB, by one set of rules.

The only module that knows uint8 HWC; the rest of ``model/`` works on ``[N, 3, H, W]`` in [-1, 1].
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from model.errors import CorruptInputError, MissingInputError
from model.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

UInt8 = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
MAX_PIXELS = 60_000_000  # a strip of 800 x 30,000 px is normal and passes; a decompression bomb does not
MAX_SIDE = 65_535  # px
RESAMPLE = "lanczos"  # the one way images are resized, by name
ORIENTATION = 0x0112  # EXIF tag
WHITE = (255, 255, 255)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange height and width
# What Pillow's parsers raise on broken files; anything else is a bug and is not hidden.
_PARSER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say."""

    height: int  # px, after an EXIF orientation is applied
    width: int
    animated: bool  # it has more frames than the first, which is the one used


def read_header(path: Path) -> Header:
    """Read only the header of an image file; the rest of it may still be broken.

    Raises: as :func:`read_image`.
    """
    try:
        with path.open("rb") as file, _open(file, str(path)) as image:
            width, height = image.size
            if _orientation(image) in _SIDEWAYS:
                width, height = height, width
            # Phones put previews behind a JPEG; these are no frames.
            return Header(height, width, image.format != "JPEG" and bool(getattr(image, "is_animated", False)))
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file; expected an image ({', '.join(FORMATS)})") from None
    except _PARSER_ERRORS as error:
        raise CorruptInputError(f"{path}: broken image ({error}); replace or remove it") from error


def read_image(path: Path) -> UInt8:
    """Read a JPEG, PNG, WebP or GIF file completely.

    16-bit values are rescaled, CMYK and embedded colour profiles become sRGB, transparency is composited on white, an
    EXIF orientation is applied, an animation gives its first frame.

    Returns: uint8 ``[H, W, 3]``, sRGB.
    Raises: MissingInputError without a file; CorruptInputError naming a file that is broken, truncated, of another
        format, or larger than 60 megapixels (refused by its header, before decoding).
    """
    try:
        with path.open("rb") as file:
            return decode_image(file, str(path))
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file; expected an image ({', '.join(FORMATS)})") from None


def decode_image(file: BinaryIO, name: str) -> UInt8:
    """Decode an open image file (see :func:`read_image`); ``name`` is what errors call it."""
    image = _open(file, name)
    try:
        with image:
            image.load()
            return _to_srgb(image)
    except _PARSER_ERRORS as error:
        raise CorruptInputError(
            f"{name}: broken or truncated {image.format} image ({error}); replace or remove it"
        ) from error


def image_size(file: BinaryIO, name: str) -> tuple[int, int]:
    """Return (width, height) in px as the header of an open image file says; errors as :func:`read_image`."""
    with _open(file, name) as image:
        return image.size


def count_frames(file: BinaryIO, name: str) -> int:
    """Return the number of frames of an open image file, 1 for a still one; errors as :func:`read_image`.

    An animation that breaks off counts as 1: its first frame is all that is ever used.
    """
    with _open(file, name) as image:
        try:
            return int(getattr(image, "n_frames", 1))
        except _PARSER_ERRORS:
            return 1


def _open(file: BinaryIO, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our limit on size below is stricter, bad metadata costs no picture
            image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise CorruptInputError(f"{name}: {error}; the limit here is {MAX_PIXELS / 1e6:.0f} megapixels") from error
    except _PARSER_ERRORS as error:
        raise CorruptInputError(f"{name}: not a readable {', '.join(FORMATS)} image; replace or remove it") from error
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise CorruptInputError(
            f"{name}: {width} x {height} px is over the limit of {MAX_PIXELS / 1e6:.0f} megapixels and "
            f"{MAX_SIDE} px a side; cut it into smaller images"
        )
    return image


def _to_srgb(image: Image.Image) -> UInt8:
    turn = _TURNS.get(_orientation(image))
    profile = image.info.get("icc_profile")
    image, alpha = _split_alpha(_to_8_bit(image))
    image = _through_profile(image, profile) if profile else image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, WHITE), alpha)
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image, dtype=np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(ORIENTATION, 1)
    except _PARSER_ERRORS:  # unreadable EXIF says nothing about the pixels
        return 1
    return value if isinstance(value, int) else 1


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Rescale 16-bit grey to 8 bits; Pillow's own conversion would clip everything above 255 to white."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(((values.clip(0, 65_535) * 255 + 32_767) // 65_535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    if not image.has_transparency_data:
        return image.convert("RGB") if image.mode in ("P", "1") else image, None
    rgba = image.convert("RGBA")
    return rgba.convert("RGB"), rgba.getchannel("A")


def _through_profile(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert ``image`` from its embedded colour profile to sRGB; a profile that cannot be used is left aside."""
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(profile.profile.xcolor_space)
        if space == "RGB" and "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image.convert("RGB")  # a conversion to itself would only add rounding
        if space is None or (space != image.mode and "CMYK" in (space, image.mode)):
            return image.convert("RGB")
        converted = ImageCms.profileToProfile(
            image.convert(space), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, *_PARSER_ERRORS) as error:
        log.debug("colour profile left aside: %s", error)
        return image.convert("RGB")
    return cast(Image.Image, converted)


def centre_square(image: UInt8) -> UInt8:
    """Cut the largest centred square out of ``[H, W, 3]``."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def resize(image: UInt8, size: int) -> UInt8:
    """Resize a square image to ``size`` px: antialiased Lanczos, the one policy everywhere.

    Args:
        image: uint8 ``[S, S, 3]``.
        size: px of the result.

    Returns: uint8 ``[size, size, 3]``; ``image`` itself if it has that size already.
    Raises: ValueError if ``image`` is not square.
    Source: Parmar et al. 2022 (clean-fid), which measures what other resampling does to FID.
    """
    if image.shape[0] != image.shape[1]:
        raise ValueError(f"resize wants a square image, got {image.shape[1]} x {image.shape[0]} px; cut it first")
    if image.shape[0] == size:
        return image
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8)


def to_uint8(images: Tensor) -> UInt8:
    """Turn network images ``[N, 3, H, W]`` in [-1, 1] into uint8 ``[N, H, W, 3]``; values outside are clipped."""
    import torch

    values = images.detach().permute(0, 2, 3, 1).mul(127.5).add(128).clamp(0, 255)
    return cast(UInt8, values.to("cpu", torch.uint8).contiguous().numpy())


def from_uint8(images: UInt8) -> Tensor:
    """Turn uint8 ``[N, H, W, 3]`` into float32 network images ``[N, 3, H, W]`` in [-1, 1]."""
    import torch

    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
    return planes.to(torch.float32).div(127.5).sub(1)


def encode_image(image: UInt8, codec: str, compress_level: int = 6) -> bytes:
    """Encode uint8 ``[H, W, 3]`` as ``png``, ``jpeg`` (quality 100) or ``webp`` (lossless), without metadata.

    Equal images give equal bytes.

    Raises: ValueError for another codec.
    """
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": compress_level},
        "jpeg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True, "quality": 75, "method": 4},
    }
    if codec not in options:
        raise ValueError(f"image codec {codec!r} is not one of {', '.join(options)}")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format=codec.upper(), **options[codec])
    return buffer.getvalue()


def write_png(path: Path, image: UInt8) -> str:
    """Write uint8 ``[H, W, 3]`` as PNG, whole or not at all; equal images give equal files.

    Returns: the sha256 of the file, in hex.
    """
    return atomic_write(path, lambda file: file.write(encode_image(image, "png")))
