"""The record of a stage crop: what was cut, what was dropped and why, which crops look alike."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from model.data.duplicates import near_duplicates
from model.data.faces.boxes import Box
from model.errors import BudgetError
from stages.cropping.cutting import CutFace, CutPage
from stages.cropping.exclusions import Excluder, Exclusion
from stages.cropping.finder import WHOLE

Place = tuple[int, int]  # in the file of thumbnails: start, bytes


class Book:
    """Collects pages as they come; writes crops at once and keeps small things only, thumbnails in a file."""

    def __init__(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Fill the existing ``folder`` with crops of the pictures ``files`` of ``crawl.json``."""
        self.folder = folder
        self.files = files
        self.crops: dict[str, dict[str, Any]] = {}
        self.dropped: list[dict[str, Any]] = []
        self.pages: dict[str, dict[str, int]] = {}
        self.unreadable: list[dict[str, str]] = []
        self.animated: list[str] = []
        self.alike: list[list[str]] = []
        self.excluded: dict[str, dict[str, Any]] = {}  # what ``crops`` said of those that are excluded
        self._hashes: dict[str, int] = {}
        self._places: dict[str, Place] = {}  # of crops
        self._dropped_places: list[Place] = []  # in the order of ``dropped``
        self._thumbnails = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Book:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thumbnails.close()

    def add(self, pictures: Sequence[str], strip: str | None, cut: CutPage) -> None:
        """Note what came of one page, which consists of ``pictures``."""
        self.unreadable += [{"page": name, "reason": reason} for name, reason in cut.unreadable]
        self.animated += cut.animated
        broken = {name for name, _ in cut.unreadable}
        self.pages |= {name: {"found": 0, "kept": 0} for name in pictures if name not in broken}
        for face in cut.faces:
            page = self.pages[face.picture]
            page["found"] += 1
            if face.png is None or face.hash is None:
                self.dropped.append({"page": face.picture, "box": numbers(face.box), "reason": face.dropped})
                self._dropped_places.append(self._put(face.thumbnail))
                continue
            name = f"{Path(face.picture).stem}-f{page['kept']:02d}.png"
            page["kept"] += 1
            (self.folder / name).write_bytes(face.png)
            self.crops[name] = _entry(face, strip) | {"group": self.files[face.picture]["group"]}
            self._hashes[name] = face.hash
            self._places[name] = self._put(face.thumbnail)

    def exclude(self, exclusions: Sequence[Exclusion]) -> list[Exclusion]:
        """Drop the crops that a person excluded; return the lines that mean no face at all."""
        excluder = Excluder(exclusions)
        for item in self.dropped:  # a line for a face that is dropped anyway is not stale
            excluder(self.files[item["page"]]["sha256"], box_of(item["box"]))
        for name, crop in sorted(self.crops.items()):
            line = excluder(self.files[crop["page"]]["sha256"], box_of(crop["box"]))
            if line is not None:
                self.excluded[name] = crop
                self._drop(name, f"excluded: by hand, line {line.number}")
        return excluder.stale()

    def find_alike(self, bits: int) -> None:
        """Group crops that look alike, excluded ones too."""
        names = sorted(self._hashes)
        self.alike = [[names[i] for i in group] for group in near_duplicates([self._hashes[n] for n in names], bits)]

    def drop_alike(self) -> None:
        """Keep the first of each group, in the order of names; an excluded one takes the others with it."""
        for first, *others in self.alike:
            for name in others:
                if name in self.crops:
                    self._drop(name, f"near duplicate: of {first}")

    def thumbnail(self, name: str) -> bytes:
        """Return the JPEG of a crop, excluded ones included."""
        return self._get(self._places[name])

    def dropped_thumbnail(self, index: int) -> bytes:
        """Return the JPEG of the square around the dropped face at this position of ``dropped``."""
        return self._get(self._dropped_places[index])

    def counts(self) -> dict[str, float]:
        """Return the numbers that are shown and compared."""
        return {
            "pages": len(self.pages),
            "pages_without_faces": sum(page["kept"] == 0 for page in self.pages.values()),
            "found": sum(page["found"] for page in self.pages.values()),
            "kept": len(self.crops),
            "dropped": len(self.dropped),
            "excluded": len(self.excluded),
            "unreadable": len(self.unreadable),
            "animated": len(self.animated),
            "near_duplicates": sum(len(group) - 1 for group in self.alike),
        }

    def reasons(self) -> dict[str, int]:
        """Return the number of dropped faces by kind of reason, the most frequent first."""
        return dict(Counter(reason_of(item) for item in self.dropped).most_common())

    def record(self) -> dict[str, Any]:
        """Return everything as plain values, the same however many processes worked on it."""
        return {
            "crops": self.crops,
            "pages": self.pages,
            "dropped": self.dropped,
            "dropped_by_reason": self.reasons(),
            "unreadable": self.unreadable,
            "animated": self.animated,
            "near_duplicates": self.alike,
            "counts": self.counts(),
        }

    def _drop(self, name: str, reason: str) -> None:
        crop = self.crops.pop(name)
        self.pages[crop["page"]]["kept"] -= 1
        self.dropped.append({"page": crop["page"], "box": crop["box"], "reason": reason, "crop": name})
        self._dropped_places.append(self._places[name])
        (self.folder / name).unlink()

    def _put(self, thumbnail: bytes) -> Place:
        self._thumbnails.seek(0, 2)
        start = self._thumbnails.tell()
        self._thumbnails.write(thumbnail)
        return start, len(thumbnail)

    def _get(self, place: Place) -> bytes:
        self._thumbnails.seek(place[0])
        return self._thumbnails.read(place[1])


def _entry(face: CutFace, strip: str | None) -> dict[str, Any]:
    """Return what the report says of a crop, in px of its ``page``, also where it goes on in the next slice."""
    entry: dict[str, Any] = {
        "page": face.picture,
        "box": numbers(face.box),
        "square": numbers(face.square),
        "score": face.score,
        "sharpness": face.sharpness,
    }
    for key, points in (("landmarks", face.landmarks), ("quad", face.quad)):
        if points is not None:
            entry[key] = [[round(x, 2), round(y, 2)] for x, y in points]
    if strip is not None:
        entry |= {"strip": strip, "slices": list(face.slices) or [face.picture]}
    return entry


def numbers(box: Box) -> list[int]:
    """Return x, y, width, height."""
    return [box.x, box.y, box.width, box.height]


def box_of(numbers: Sequence[int]) -> Box:
    """Return the box of x, y, width, height."""
    x, y, width, height = numbers
    return Box(y, x, width, height)


def reason_of(item: Mapping[str, Any]) -> str:
    """Return the kind of reason of a dropped face: ``too small``, ``border``, ``blurred`` ..."""
    return str(item["reason"]).partition(":")[0]


def in_words(reasons: Mapping[str, int]) -> str:
    """Return counts by reason as one line."""
    return ", ".join(f"{count} {kind}" for kind, count in reasons.items()) or "none"


def nothing_left(book: Book, face: str) -> BudgetError:
    """Return the error that no crop is left of faces of the kind ``face``, with advice."""
    counts = book.counts()
    found = f"no face is left: {counts['pages']} pictures, {counts['found']} faces found, "
    found += f"dropped: {in_words(book.reasons())}"
    if face == WHOLE:
        return BudgetError(f"{found}; lower crop.resolution, or use larger pictures")
    return BudgetError(
        f"{found}; look at the pictures, then lower the detector's thresholds, min_face or min_side in "
        f"crop.faces.{face}, name another detector, or set the dataset's face to `{WHOLE}` if the pictures are face "
        "crops already"
    )
