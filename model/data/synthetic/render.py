"""One entry for every style: attributes in, picture out."""

from __future__ import annotations

import numpy as np

from model.data.synthetic.attributes import FaceAttributes
from model.data.synthetic.flat import render_flat
from model.data.synthetic.ink import render_ink
from model.data.synthetic.photo import render_photo

STYLES = ("photo", "flat", "ink")


def render(attrs: FaceAttributes, style: str, size: int) -> np.ndarray:
    """Draw a face in the standard framing.

    Args:
        attrs: the face.
        style: one of `STYLES`.
        size: side of the picture in px, at least 16.

    Returns: uint8 RGB ``[size, size, 3]``; equal arguments give equal bytes.
    Raises: ValueError if the style is not known or the size too small.
    """
    if size < 16:
        raise ValueError(f"render: size is {size} px, expected at least 16")
    if style == "photo":
        return render_photo(attrs, size)
    if style == "flat":
        return render_flat(attrs, size)
    if style == "ink":
        return render_ink(attrs, size)
    raise ValueError(f"render: style is {style!r}, expected one of {', '.join(STYLES)}")
