"""Annotated faces on photographs and comic pages, and how what a detector finds is held against them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from model.data.faces.boxes import Box, Face, Points, overlap
from model.files import sha256_file

LABELS = Path(__file__).resolve().parents[1] / "tests" / "real" / "comic_faces.json"
SAME = 0.5  # intersection over union from which a box is the face's
TINY = 40  # px, larger side

Rule = Callable[[Box, Box], bool]  # (found, true): is it that face?


@dataclass(frozen=True)
class Truth:
    """A face that somebody marked."""

    box: Box
    landmarks: Points | None
    counts: bool  # False: neither to be found nor wrong to find
    why_hard: str


@dataclass(frozen=True)
class Picture:
    path: Path
    faces: tuple[Truth, ...]

    def from_px(self, side: int) -> Picture:
        """Leave faces whose larger side is below ``side`` px out of the count."""
        large = [max(face.box.width, face.box.height) >= side for face in self.faces]
        faces = (replace(f, counts=f.counts and whole) for f, whole in zip(self.faces, large, strict=True))
        return Picture(self.path, tuple(faces))


@dataclass(frozen=True)
class Outcome:
    """What became of a picture's faces."""

    picture: Picture
    pairs: list[tuple[Face, Truth]]
    missed: list[Truth]
    wrong: list[Face]


@dataclass(frozen=True)
class Change:
    """One constant change of all boxes of a detector: boxes are drawn by different conventions."""

    wider: float
    taller: float
    right: float  # in widths
    down: float  # in heights

    def apply(self, box: Box) -> Box:
        width, height = box.width * self.wider, box.height * self.taller
        x = box.x + box.width * (0.5 + self.right) - width / 2
        y = box.y + box.height * (0.5 + self.down) - height / 2
        return Box(round(y), round(x), round(width), round(height))


def photos(folder: Path) -> list[Picture]:
    """Read dlib's scenes: boxes by dlib's own convention (brows to chin), 68 landmarks each."""
    pictures = []
    for file in sorted(folder.glob("*_with_face_landmarks.xml")):
        for image in ElementTree.parse(file).getroot().iter("image"):
            faces = []
            for box in image.iter("box"):
                top, left, width, height = (int(box.attrib[key]) for key in ("top", "left", "width", "height"))
                parts = sorted((part.attrib["name"], part) for part in box.iter("part"))
                points = tuple((float(part.attrib["x"]), float(part.attrib["y"])) for _, part in parts)
                counts = box.attrib.get("ignore") != "1"  # none of these files has such a box
                faces.append(Truth(Box(top, left, width, height), points, counts, "photo"))
            pictures.append(Picture(folder / image.attrib["file"], tuple(faces)))
    return pictures


def comics(folder: Path) -> list[Picture]:
    """Read the pages of ``tests/real/comic_faces.json``; ValueError if a page is another file than was labelled."""
    pictures = []
    for page in json.loads(LABELS.read_text())["pages"]:
        path = folder / page["file"]
        if sha256_file(path) != page["sha256"]:
            raise ValueError(f"{path}: not the file whose faces are in {LABELS.name}")
        faces = [
            Truth(_box(face["box"]), None, face["kind"] == "human" and not face["ignore"], why_hard(face, page))
            for face in page["faces"]
        ]
        pictures.append(Picture(path, tuple(faces)))
    return pictures


def why_hard(face: dict[str, object], page: dict[str, object]) -> str:
    """Put a face into one kind: the first of these that holds."""
    sides: Sequence[int] = face["box"][2:]  # type: ignore[index]
    for holds, kind in (
        (face["kind"] == "creature", "creature"),
        (max(sides) < TINY, f"below {TINY} px"),
        (face["view"] == "profile", "profile"),
        (face["hidden"], "partly hidden"),
        (page["style"] != "manga", "other style than manga"),
    ):
        if holds:
            return kind
    return f"manga, {face['view']}"


def by_overlap(found: Box, true: Box) -> bool:
    return overlap(found, true)[0] >= SAME


def by_centre(found: Box, true: Box) -> bool:
    """Centres nearer than half the true side, and sizes within a factor of two: conventions do not matter."""
    side = (true.width + true.height) / 2
    apart = np.hypot(
        found.x + found.width / 2 - true.x - true.width / 2, found.y + found.height / 2 - true.y - true.height / 2
    )
    return bool(apart < side / 2 and 0.5 < (found.width + found.height) / 2 / side < 2)


def after(change: Change) -> Rule:
    return lambda found, true: by_overlap(change.apply(found), true)


def judge(picture: Picture, found: Sequence[Face], rule: Rule) -> Outcome:
    """Give every truth the surest face that ``rule`` lets it have; faces on what does not count are left out."""
    free = list(picture.faces)
    pairs, wrong = [], []
    for face in sorted(found, key=lambda f: (-f.score, f.box)):
        fits = [truth for truth in free if truth.counts and rule(face.box, truth.box)]
        if fits:
            best = max(fits, key=lambda truth: overlap(face.box, truth.box)[0])
            pairs.append((face, best))
            free.remove(best)
        elif not any(not truth.counts and _about(face.box, truth.box) for truth in picture.faces):
            wrong.append(face)
    return Outcome(picture, pairs, [truth for truth in free if truth.counts], wrong)


def fitted(outcomes: Sequence[Outcome]) -> Change:
    """The change that brings matched boxes nearest to the true ones: medians, on the same faces (so optimistic)."""
    rows = [
        (
            truth.box.width / face.box.width, truth.box.height / face.box.height,
            (truth.box.x + truth.box.width / 2 - face.box.x - face.box.width / 2) / face.box.width,
            (truth.box.y + truth.box.height / 2 - face.box.y - face.box.height / 2) / face.box.height,
        )
        for outcome in outcomes for face, truth in outcome.pairs
    ]  # fmt: skip
    return Change(*(float(value) for value in np.median(rows, axis=0))) if rows else Change(1.0, 1.0, 0.0, 0.0)


def recall(outcomes: Sequence[Outcome]) -> float:
    total = sum(len(outcome.pairs) + len(outcome.missed) for outcome in outcomes)
    return sum(len(outcome.pairs) for outcome in outcomes) / max(total, 1)


def precision(outcomes: Sequence[Outcome]) -> float:
    total = sum(len(outcome.pairs) + len(outcome.wrong) for outcome in outcomes)
    return sum(len(outcome.pairs) for outcome in outcomes) / max(total, 1)


def _box(numbers: Sequence[int]) -> Box:
    x, y, width, height = numbers
    return Box(y, x, width, height)


def _about(found: Box, true: Box) -> bool:
    """Whether a face is on something that does not count: generously, for its box may be of any size."""
    inside = overlap(found, true)[1]
    return by_centre(found, true) or inside > 0.6
