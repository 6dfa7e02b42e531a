"""Where gathered pictures are put: checked, named safely, without exact duplicates, bad ones noted."""

from __future__ import annotations

import hashlib
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from model.data.images import count_frames, decode_image
from model.errors import BudgetError, CorruptInputError
from stages.sources.settings import GroupBy

SLUG_LENGTH = 60
MAX_BYTES = 256 << 20  # of one image file; 60 megapixels of 16 bits have at most 480 MB uncompressed


class Shelf:
    """A folder that is being filled with pictures, and the record of it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.files: dict[str, dict[str, Any]] = {}
        self.dropped: list[dict[str, str]] = []
        self.reasons: Counter[str] = Counter()  # why pictures were dropped, or passed over
        self.ignored = 0  # files of other types
        self._bad: list[dict[str, str]] = []
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

        Returns: its name, or None if it was dropped. An animation's record has ``frames``: only the first is used.
        """
        try:
            decode_image(io.BytesIO(content), origin)  # completely: a header says nothing about the rest
        except CorruptInputError as error:
            self.refuse(origin, str(error), "unreadable")
            return None
        digest = hashlib.sha256(content).hexdigest()
        if digest in self._first:
            self.dropped.append({"origin": origin, "reason": f"same bytes as {self._first[digest]}"})
            self.reasons["duplicate"] += 1
            return None
        self._first[digest] = origin
        frames = count_frames(io.BytesIO(content), origin)
        if frames > 1:
            details["frames"] = frames
        name = f"{len(self.files):05d}-{slug(stem)}{_suffix(content)}"
        (self.out / name).write_bytes(content)
        self.files[name] = {"origin": origin, "group": group, "sha256": digest, **details}
        return name

    def put_file(self, path: Path, origin: str, group: str, **details: Any) -> str | None:
        """Keep a file of the user; see :meth:`put`. One that cannot be read, or is too large, is a bad item."""
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            self.refuse(origin, f"{origin}: cannot be read ({error.strerror})", "unreadable")
            return None
        if len(content) > MAX_BYTES:
            self.refuse(origin, f"{origin}: more than {MAX_BYTES >> 20} MB, no image is that large", "too large")
            return None
        return self.put(content, origin, group, path.stem, **details)

    def refuse(self, origin: str, reason: str, kind: str = "bad") -> None:
        """Note a bad item, which counts against the budget; ``kind`` is what totals call the reason."""
        self.dropped.append({"origin": origin, "reason": reason})
        self._bad.append(self.dropped[-1])
        self.reasons[kind] += 1

    def check_budget(self, total: int, fraction: float, key: str) -> None:
        """See :func:`check_budget`."""
        check_budget(len(self._bad), total, fraction, key, self._bad)

    def record(self) -> dict[str, Any]:
        """Return ``files`` (name -> origin, group, ...), ``dropped`` (origin, reason), ``reasons`` and ``ignored``."""
        reasons = dict(sorted(self.reasons.items()))
        return {"files": self.files, "dropped": self.dropped, "reasons": reasons, "ignored": self.ignored}


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


def group_of(origin: str, by: GroupBy) -> str:
    """Return the group of a picture by its relative path: itself, or its folder (an episode)."""
    return origin if by == "file" else PurePosixPath(origin).parent.as_posix()


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
