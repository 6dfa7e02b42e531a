"""What a worker does: find the faces of one page and cut them out, in pixels and coordinates of its pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
from PIL import Image

from model.data.duplicates import perceptual_hash
from model.data.faces.boxes import Box, Face, Points, cut_square
from model.data.faces.crops import FaceCrop, face_crops, sharpness, whole_image
from model.data.faces.detector import Detector, find_faces, load_detector
from model.data.faces.frames import FrameSettings, framed
from model.data.images import Header, UInt8, encode_image, read_header
from model.errors import CorruptInputError
from stages.cropping.finder import Finder
from stages.cropping.pages import BrokenSliceError, Page, Picture, Strip, runs
from stages.cropping.settings import GivenFaces

THUMBNAIL, THUMBNAIL_QUALITY = 76, 45  # px; 2,000 of them stay below 5 MB of text
SLACK = 0.5  # squares: what a frame may look at around itself


@dataclass(frozen=True)
class CutSettings:
    """What a worker needs to know besides the page."""

    raw: Path
    resolution: int  # px
    finder: Finder | None  # None = whole images


@dataclass(frozen=True)
class CutFace:
    """One face that was found, and what became of it so far."""

    picture: str  # in which the face box begins
    box: Box  # px of that picture, like everything here; a box may go on in the next slice
    square: Box
    score: float
    landmarks: Points | None
    quad: Points | None  # corners of a turned square
    slices: tuple[str, ...]  # that the square touches
    thumbnail: bytes  # JPEG
    png: bytes | None  # the crop, if it is used
    sharpness: float | None
    hash: int | None
    dropped: str | None  # why it is not used


@dataclass(frozen=True)
class CutPage:
    """What came of one page."""

    faces: tuple[CutFace, ...]
    unreadable: tuple[tuple[str, str], ...]  # picture, reason
    animated: tuple[str, ...]


def cut_page(settings: CutSettings, page: Page) -> CutPage:
    """Find and cut the faces of a page; slices that are broken, or of another width, divide it."""
    cv2.setNumThreads(1)  # pages go to processes; more threads would return the same faces in another order
    headers, unreadable = _read_headers(settings.raw, page.pictures)
    faces: list[CutFace] = []
    todo = runs(headers)
    while todo:
        run = todo.pop(0)
        pictures, known = page.pictures[run.start : run.stop], [headers[index] for index in run]
        strip = Strip([settings.raw / p.name for p in pictures], [header for header in known if header is not None])
        try:
            faces += _cut_run(settings, pictures, strip)
        except BrokenSliceError as error:
            broken = run.start + error.index
            unreadable[broken] = str(error)
            todo[:0] = [part for part in (range(run.start, broken), range(broken + 1, run.stop)) if part]
    return CutPage(
        tuple(faces),
        tuple((page.pictures[index].name, unreadable[index]) for index in sorted(unreadable)),
        tuple(
            p.name for p, header in zip(page.pictures, headers, strict=True) if header is not None and header.animated
        ),
    )


def _read_headers(raw: Path, pictures: Sequence[Picture]) -> tuple[list[Header | None], dict[int, str]]:
    headers: list[Header | None] = []
    unreadable = {}
    for index, picture in enumerate(pictures):
        try:
            headers.append(read_header(raw / picture.name))
        except CorruptInputError as error:
            headers.append(None)
            unreadable[index] = str(error)
    return headers, unreadable


def _cut_run(settings: CutSettings, pictures: Sequence[Picture], strip: Strip) -> list[CutFace]:
    finder = settings.finder
    height, width = strip.shape[:2]
    if finder is None:
        image = strip[0:height, 0:width]
        return [_describe(image, whole_image(image, settings.resolution), 0, pictures, strip)]
    if isinstance(finder.settings.detector, GivenFaces):
        tops = strip.tops[:-1]
        found = [face.moved(top, 0) for top, picture in zip(tops, pictures, strict=True) for face in _given(picture)]
    else:
        found = find_faces(strip, _detector(finder))
    chosen = finder.settings
    cut = []
    for index in range(len(pictures)):  # the most faces per image holds for each slice
        faces = [face for face in found if strip.slice_at(face.box.y) == index]
        if not faces:
            continue
        top, bottom = _rows_of(faces, chosen.frame, height, width)
        window = strip[top:bottom, 0:width]
        crops = face_crops(window, [f.moved(-top, 0) for f in faces], chosen.frame, chosen.filters, settings.resolution)
        cut += [_describe(window, crop, top, pictures, strip) for crop in crops]
    return cut


@cache
def _detector(finder: Finder) -> Detector:
    """Load a detector once per process."""
    assert finder.file is not None
    assert not isinstance(finder.settings.detector, GivenFaces)
    return load_detector(finder.settings.detector, finder.file, finder.key)


def _given(picture: Picture) -> list[Face]:
    """Return the faces that the record of a picture names; around landmarks, the box that they span."""
    if picture.landmarks is None:
        return [Face(box, 0.0, None) for box in picture.faces]
    across, down = [x for x, _ in picture.landmarks], [y for _, y in picture.landmarks]
    left, top = round(min(across)), round(min(down))
    width, height = max(round(max(across)) - left, 1), max(round(max(down)) - top, 1)
    return [Face(Box(top, left, width, height), 0.0, picture.landmarks)]


def _rows_of(faces: Sequence[Face], frame: FrameSettings, height: int, width: int) -> tuple[int, int]:
    """Return the rows of a strip of ``height`` x ``width`` px that hold everything the crops of these faces show."""
    tops, ends = [], []
    for face in faces:
        part = framed(face, frame, height, width)
        square, quad = (face.box, None) if isinstance(part, str) else (part.square, part.quad)
        rows = [face.box.y, face.box.y + face.box.height, square.y, square.y + square.height]
        rows += [round(y) for _, y in quad or ()]
        slack = round(SLACK * square.height)
        tops.append(min(rows) - slack)
        ends.append(max(rows) + slack)
    return max(min(tops), 0), min(max(ends), height)


def _describe(image: UInt8, crop: FaceCrop, down: int, pictures: Sequence[Picture], strip: Strip) -> CutFace:
    """Say in px of its picture what was cut from ``image``, which begins at row ``down`` of the strip."""
    face = crop.face.moved(down, 0)
    first = strip.slice_at(face.box.y)
    start = strip.tops[first]
    last = strip.slice_at(crop.square.y + down + crop.square.height - 1)
    slices = range(min(first, strip.slice_at(crop.square.y + down)), last + 1)
    own = face.moved(-start, 0)
    return CutFace(
        pictures[first].name,
        own.box,
        replace(crop.square, y=crop.square.y + down - start),
        own.score,
        own.landmarks,
        None if crop.quad is None else tuple((x, y + down - start) for x, y in crop.quad),
        tuple(pictures[index].name for index in slices) if len(pictures) > 1 else (),
        _thumbnail(crop.pixels if crop.pixels is not None else cut_square(image, crop.square)),
        encode_image(crop.pixels, "png") if crop.pixels is not None else None,
        round(sharpness(crop.pixels), 1) if crop.pixels is not None else None,
        perceptual_hash(crop.pixels) if crop.pixels is not None else None,
        crop.dropped,
    )


def _thumbnail(pixels: UInt8) -> bytes:
    small = cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return buffer.getvalue()
