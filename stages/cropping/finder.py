"""The face finder that a dataset asks for: its settings and its checked file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from model.data.faces.detector import OPENCV, load_detector, shipped_file
from model.errors import MissingInputError, UsageError
from model.files import sha256_file
from stages.cropping.settings import CropParams, FaceSettings, GivenFaces
from stages.fetch.weights import ensure

WHOLE = "none"  # datasets.NAME.face of images that are face crops already


@dataclass(frozen=True)
class Finder:
    """How the faces of a dataset are found; hashable, and small to send to a process."""

    name: str  # the kind of face
    settings: FaceSettings
    file: Path | None  # of the detector; None if the dataset says where its faces are
    sha256: str | None

    @property
    def key(self) -> str:
        """Return the params key of the detector's file."""
        return f"crop.faces.{self.name}.detector.file"

    def describe(self) -> dict[str, Any]:
        """Return what a report says about it."""
        return {"name": self.name, "sha256": self.sha256, "opencv": cv2.__version__, **asdict(self.settings)}


def choose_finder(face: str, settings: CropParams, key: str) -> Finder | None:
    """Return the finder of the kind ``face``, after loading it once; None for whole images.

    Args:
        face: of the dataset.
        settings: of the stage.
        key: the params key of ``face``, for messages.

    Raises: UsageError for an unknown kind; MissingInputError or CorruptInputError about the detector's file.
    """
    if face == WHOLE:
        return None
    if face not in settings.faces:
        known = ", ".join([*sorted(settings.faces), WHOLE])
        raise UsageError(f"{key}: {face!r} is not one of {known}; correct it, or add crop.faces.{face}")
    chosen = settings.faces[face]
    if isinstance(chosen.detector, GivenFaces):
        return Finder(face, chosen, None, None)
    where = f"crop.faces.{face}.detector.file"
    file = detector_file(chosen.detector.file, where)
    load_detector(chosen.detector, file, where)  # a broken file is better named here than by many processes
    return Finder(face, chosen, file, sha256_file(file))


def detector_file(name: str, key: str) -> Path:
    """Return the checked file that ``opencv:NAME``, ``lock:NAME`` or a path names.

    Raises: MissingInputError naming the params ``key``; what ``stages.fetch.weights.ensure`` raises.
    """
    if name.startswith(OPENCV):
        return shipped_file(name.removeprefix(OPENCV), key)
    if name.startswith("lock:"):
        return ensure(name.removeprefix("lock:"))
    if not Path(name).is_file():
        raise MissingInputError(f"{key}: {name}: no such file; give a path, lock:NAME or opencv:NAME")
    return Path(name)
