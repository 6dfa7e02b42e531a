"""Faces by an OpenCV cascade (Viola-Jones): the frontal Haar ones that OpenCV ships, nagadomi's for drawn faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from model.data.faces.boxes import OVERLAP_SAME, Box, Face, distinct, overlap
from model.data.images import UInt8
from model.errors import CorruptInputError

# Equalisation is local: over a whole page that is mostly paper it squeezes the faces into a few grey values
# and the frontal Haar cascade then finds none of 40 (37 of 40 with this, or without).
CONTRAST, CELLS = 2.0, 8


@dataclass(frozen=True)
class CascadeSettings:
    """How a cascade searches."""

    kind: Literal["cascade"]
    file: str  # opencv:NAME ships with OpenCV; lock:NAME stands in weights.lock.yaml; or a path
    scale_factor: float  # between the sizes searched; closer to 1 is slower and finds more
    min_neighbors: int  # windows that must agree on a face; higher means fewer wrong crops and fewer faces
    mirror: bool  # search the mirrored image too and add up the windows: twice the time, fewer wrong crops
    equalise: bool  # even out the contrast from place to place (CLAHE) before searching
    min_face: int  # px of the page, smallest face box searched

    def __post_init__(self) -> None:
        """Refuse numbers that OpenCV would not survive."""
        for bad, rule in (
            (self.scale_factor <= 1, f"scale_factor must be above 1, found {self.scale_factor}"),
            (self.min_face < 8, f"min_face must be at least 8 px, found {self.min_face}"),
            (self.min_neighbors < 1, f"min_neighbors must be at least 1, found {self.min_neighbors}"),
        ):
            if bad:
                raise ValueError(rule)


class Cascade:
    """A loaded cascade; one thread, sorted results, the same on every run."""

    def __init__(self, settings: CascadeSettings, file: Path, key: str) -> None:
        """Load ``file``; CorruptInputError naming it and the params ``key`` if OpenCV cannot."""
        self.settings = settings
        cv2.setNumThreads(1)  # more threads return the same faces in another order
        self._cascade = cv2.CascadeClassifier()
        try:
            loaded = self._cascade.load(str(file))
        except (cv2.error, SystemError):
            loaded = False
        if not loaded or self._cascade.empty():
            raise CorruptInputError(
                f"{file}: OpenCV {cv2.__version__} cannot read it as a cascade; "
                f"get the file again or name another in {key}"
            )

    def detect(self, image: UInt8) -> list[Face]:
        """Find faces in uint8 ``[H, W, 3]``, the surest first; ``score`` counts the windows that agree."""
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        if self.settings.equalise:
            grey = np.asarray(cv2.createCLAHE(CONTRAST, (CELLS, CELLS)).apply(grey), dtype=np.uint8)
        if not self.settings.mirror:
            return distinct(self._windows(grey, self.settings.min_neighbors))
        plain = self._windows(grey, 1)
        mirrored = [
            Face(Box(f.box.y, grey.shape[1] - f.box.x - f.box.width, f.box.width, f.box.height), f.score, None)
            for f in self._windows(np.ascontiguousarray(grey[:, ::-1]), 1)
        ]
        both = []
        for face in plain:
            agreeing = max((m.score for m in mirrored if overlap(face.box, m.box)[0] > OVERLAP_SAME), default=0)
            if face.score + agreeing >= self.settings.min_neighbors:
                both.append(Face(face.box, face.score + agreeing, None))
        return distinct(both)

    def _windows(self, grey: UInt8, neighbors: int) -> list[Face]:
        smallest = (self.settings.min_face, self.settings.min_face)
        if min(grey.shape) < self.settings.min_face:
            return []
        boxes, counts = self._cascade.detectMultiScale2(grey, self.settings.scale_factor, neighbors, minSize=smallest)
        return [
            Face(Box(int(y), int(x), int(w), int(h)), float(n), None)
            for (x, y, w, h), n in zip(boxes, np.ravel(counts), strict=True)
        ]
