"""What finds faces: one small interface, and the kinds of detector behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2

from model.data.faces.boxes import Face, distinct, tiles
from model.data.faces.cascade import Cascade, CascadeSettings
from model.data.faces.yunet import Yunet, YunetSettings
from model.data.images import UInt8
from model.errors import MissingInputError

OPENCV = "opencv:"  # files that ship with OpenCV

DetectorSettings = CascadeSettings | YunetSettings


class Detector(Protocol):
    """Finds faces; the same ones on every run."""

    def detect(self, image: UInt8) -> list[Face]:
        """Find faces in uint8 ``[H, W, 3]``, the surest first, none of them twice."""
        ...


def load_detector(settings: DetectorSettings, file: Path, key: str) -> Detector:
    """Load what ``settings`` describe from its checked ``file``; ``key`` is what messages call it.

    Raises: CorruptInputError naming a file that OpenCV cannot use.
    """
    if isinstance(settings, YunetSettings):
        return Yunet(settings, file, key)
    return Cascade(settings, file, key)


def finds_landmarks(settings: DetectorSettings) -> bool:
    """Tell whether faces come with landmarks, which the frame ``ffhq`` needs."""
    return isinstance(settings, YunetSettings)


def shipped_file(name: str, key: str) -> Path:
    """Return the path of a cascade that OpenCV ships; MissingInputError naming those there are."""
    folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined,unused-ignore]
    if (folder / name).is_file() and Path(name).name == name:
        return folder / name
    frontal = ", ".join(sorted(path.name for path in folder.glob("*frontalface*.xml")))
    raise MissingInputError(f"{key}: {OPENCV}{name}: OpenCV ships no such cascade; for faces it has: {frontal}")


class Searchable(Protocol):
    """A page of which parts can be taken: an array, or something that reads them when asked."""

    shape: Any  # height, width, 3

    def __getitem__(self, part: tuple[slice, slice], /) -> UInt8:
        """Return the part ``[rows, columns]``, uint8 ``[H, W, 3]``."""
        ...


def find_faces(image: Searchable, detector: Detector) -> list[Face]:
    """Search a page, a strip in overlapping tiles; the surest face first, in px of the page."""
    found: list[Face] = []
    for top, left, bottom, right in tiles(*image.shape[:2]):
        found += [face.moved(top, left) for face in detector.detect(image[top:bottom, left:right])]
    return distinct(found)
