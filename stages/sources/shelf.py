"""Where gathered pictures are put: checked, named safely, without exact duplicates, bad ones noted."""

from __future__ import annotations

import hashlib
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.data.images import decode_image
from model.errors import BudgetError, CorruptInputError

SLUG_LENGTH = 60


class Shelf:
    """A folder that is being filled with pictures, and the record of it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.files: dict[str, dict[str, Any]] = {}
        self.dropped: list[dict[str, str]] = []
        self.ignored = 0  # files of other types
        self._bad = 0
        self._first: dict[str, str] = {}  # sha256 -> origin

    def put(self, content: bytes, origin: str, group: str, stem: str, **details: Any) -> str | None:
        """Keep the bytes of one picture, if they are a whole picture and not here yet.

        Args:
            content: of the image file.
            origin: where it comes from, for people and messages.
            group: pictures of one group are never divided between training and held-out images.
            stem: of the file name; reduced to safe letters.
            details: further entries of its record: ``strip`` and ``order`` (slices of one strip are joined before
                faces are searched), ``landmarks`` (pairs x, y in px, of its only face).

        Returns: its name, or None if it was dropped.
        """
        try:
            decode_image(io.BytesIO(content), origin)  # completely: a header says nothing about the rest
        except CorruptInputError as error:
            self.refuse(origin, str(error))
            return None
        digest = hashlib.sha256(content).hexdigest()
        if digest in self._first:
            self.dropped.append({"origin": origin, "reason": f"same bytes as {self._first[digest]}"})
            return None
        self._first[digest] = origin
        name = f"{len(self.files):05d}-{slug(stem)}{_suffix(content)}"
        (self.out / name).write_bytes(content)
        self.files[name] = {"origin": origin, "group": group, "sha256": digest, **details}
        return name

    def refuse(self, origin: str, reason: str) -> None:
        """Note a bad item, which counts against the budget."""
        self._bad += 1
        self.dropped.append({"origin": origin, "reason": reason})

    def check_budget(self, total: int, fraction: float, key: str) -> None:
        """See :func:`check_budget`."""
        check_budget(self._bad, total, fraction, key, self.dropped)

    def record(self) -> dict[str, Any]:
        """Return ``files`` (name -> origin, group, sha256, ...), ``dropped`` (origin, reason) and ``ignored``."""
        return {"files": self.files, "dropped": self.dropped, "ignored": self.ignored}


def check_budget(bad: int, total: int, fraction: float, key: str, dropped: Sequence[dict[str, str]]) -> None:
    """Tolerate single bad items, fail on many.

    Raises: BudgetError if more than ``fraction`` of ``total`` (rounded up) are bad, or all.
    """
    if bad and (bad > math.ceil(fraction * total) or bad == total):
        reasons = "; ".join(item["reason"] for item in dropped[:3])
        raise BudgetError(
            f"{bad} of {total} images cannot be read, more than {key} ({fraction:g}) allows: {reasons}"
            f"{' ...' if len(dropped) > 3 else ''}; replace or remove them, or raise the number"
        )


def slug(text: str) -> str:
    """Reduce ``text`` to at most 60 of ``a-z 0-9 - _``, safe as part of a file name on every system."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", ascii_text).strip("-_")[:SLUG_LENGTH].strip("-_") or "image"


def _suffix(content: bytes) -> str:
    """Name the format by its first bytes; extensions of collected files are often wrong."""
    for start, suffix in ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"RIFF", ".webp")):
        if content.startswith(start):
            return suffix
    return ".img"
