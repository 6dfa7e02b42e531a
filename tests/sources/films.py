"""Films whose frames carry their own numbers, as 16 black or white blocks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from model.data.images import UInt8

BLOCK, COLUMNS, ROWS = 16, 8, 2
WIDTH, HEIGHT = BLOCK * COLUMNS, BLOCK * ROWS
WHOLE = f"0,0,{WIDTH},{HEIGHT}"  # a box, as a list of clips has it


def numbered(number: int) -> UInt8:
    """Draw a number, ``[32, 128, 3]``."""
    bits = np.array([number >> place & 1 for place in range(COLUMNS * ROWS)], np.uint8).reshape(ROWS, COLUMNS)
    return np.kron(bits * 200 + 28, np.ones((BLOCK, BLOCK), np.uint8))[:, :, None].repeat(3, 2).astype(np.uint8)


def number_of(picture: UInt8) -> int:
    """Read what :func:`numbered` has drawn, also through lossy compression."""
    blocks = picture.mean(axis=2).reshape(ROWS, BLOCK, COLUMNS, BLOCK).mean(axis=(1, 3)) > 128
    return sum(1 << place for place, bit in enumerate(blocks.reshape(-1)) if bit)


def write_film(
    path: Path,
    count: int,
    codec: str,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    **stream_settings: Any,
) -> Path:
    """Write frames 0 to ``count`` - 1 at 25 a second, or at ``times`` (in units of 1/1000 s)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = {"mjpeg": "yuvj420p", "ffv1": "yuv420p"}.get(codec, "yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for name, value in stream_settings.items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, 25 if times is None else 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


KINDS: dict[str, dict[str, Any]] = {
    "h264_b.mp4": {"codec": "libx264", "options": {"g": "12", "bf": "3", "crf": "18"}},
    "h264_b.mkv": {"codec": "libx264", "options": {"g": "12", "bf": "3", "crf": "18"}},
    "h264_open.mp4": {"codec": "libx264", "options": {"x264-params": "keyint=12:open-gop=1:bframes=3:scenecut=0"}},
    "h264.ts": {"codec": "libx264", "options": {"g": "12", "bf": "2"}},
    "mpeg4_b.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2", "qscale": "2"}},
    "mpeg4_b.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "ffv1.mkv": {"codec": "ffv1"},
    "mjpeg.avi": {"codec": "mjpeg", "options": {"qmin": "2", "qmax": "5"}},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}},
    "one_key.mp4": {"codec": "libx264", "options": {"g": "1000", "bf": "3"}},
    "variable.mkv": {"codec": "libx264", "options": {"g": "12", "bf": "3"}, "times": "irregular"},
    "variable.mp4": {"codec": "libx264", "options": {"g": "12", "bf": "3"}, "times": "irregular"},
}


def make(folder: Path, name: str, count: int) -> Path:
    """Write the film ``name`` of :data:`KINDS`."""
    settings = dict(KINDS[name])
    if settings.pop("times", None):
        steps = np.random.default_rng(0).integers(7, 300, count)
        settings["times"] = [int(value) for value in np.cumsum(steps)]
    return write_film(folder / name, count, settings.pop("codec"), **settings)
