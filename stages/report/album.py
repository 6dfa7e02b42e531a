"""The pictures of a page: each distinct one once, made smaller step by step until the page fits."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from model.data.images import UInt8
from model.data.sheets import fit

Kind = Literal["tile", "sheet", "figure"]
URI = "data:image/webp;base64,"


class Rung(NamedTuple):
    """How small pictures are made."""

    tile: int  # px, longest side of a face
    quality: int  # of lossy WebP, 0-100
    sheet: int  # px, longest side of a sheet


RUNGS = (
    Rung(256, 92, 1600), Rung(256, 82, 1600), Rung(192, 80, 1400), Rung(160, 76, 1200), Rung(128, 74, 1100),
    Rung(128, 60, 1000), Rung(96, 60, 900), Rung(64, 60, 800), Rung(64, 40, 640), Rung(48, 35, 480),
)  # fmt: skip


@dataclass
class Album:
    """Pictures by name; equal pixels share one."""

    pictures: dict[str, tuple[Kind, UInt8]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, pixels: UInt8, kind: Kind) -> str:
        """Take a picture ``[H, W, 3]`` in; return its name."""
        seen = hashlib.sha256(f"{kind} {pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
        if seen not in self._names:
            self._names[seen] = f"p{len(self._names)}"
            self.pictures[self._names[seen]] = (kind, pixels)
        return self._names[seen]

    def encode(self, rung: Rung) -> dict[str, str]:
        """Return name -> base64 of a WebP file; figures stay lossless, their thin lines would fray."""
        return {name: _webp(*self._sized(name, rung), rung.quality) for name in self.pictures}

    def _sized(self, name: str, rung: Rung) -> tuple[Kind, UInt8]:
        kind, pixels = self.pictures[name]
        longest = {"tile": rung.tile, "sheet": rung.sheet, "figure": max(pixels.shape)}[kind]
        return kind, pixels if max(pixels.shape[:2]) <= longest else fit(pixels, longest)


def _webp(kind: Kind, pixels: UInt8, quality: int) -> str:
    buffer = io.BytesIO()
    options = {"lossless": True, "quality": 90} if kind == "figure" else {"quality": quality}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="WEBP", method=4, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
