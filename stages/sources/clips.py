"""The list of clips of a film source: which box of which frames of which film.

``clips.csv`` has the columns ``video,start_frame,end_frame,x,y,w,h`` and may have ``stride`` and ``label``, in any
order. The first frame of a film is number 0, as players show them; both ends belong to a clip, and of its frames every
``stride``-th is used, from the first one on. Boxes are in px of the picture as it is shown: turned as the film's
metadata says, and with square pixels.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model.errors import CorruptInputError, MissingInputError, UsageError

CLIPS = "clips.csv"
REQUIRED = ("video", "start_frame", "end_frame", "x", "y", "w", "h")
OPTIONAL = ("stride", "label")
MAX_LIST = 10_000_000  # bytes
MAX_NUMBER = 100_000_000
MAX_FRAMES = 2_000_000  # of all clips together


@dataclass(frozen=True)
class Clip:
    """One row: a box of a run of frames."""

    row: int  # line of the file, from 1
    video: str  # relative to the list's folder
    start: int  # frames, from 0
    end: int  # the last one; it belongs to the clip
    x: int  # px, of the box's upper left corner
    y: int
    width: int
    height: int
    stride: int  # frames
    label: str

    @property
    def frames(self) -> range:
        """The numbers of its frames."""
        return range(self.start, self.end + 1, self.stride)

    @property
    def box(self) -> str:
        """The box, for people."""
        return f"{self.width}x{self.height}+{self.x}+{self.y}"


def read_clips(file: Path) -> list[Clip]:
    """Read a list of clips and check everything in it that can be checked without opening a film.

    Raises: MissingInputError without the list, or without a film that it names; CorruptInputError if it is no text in
        UTF-8; UsageError naming the row and column of anything else.
    """
    rows = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    try:
        header = next(rows, [])
        columns = _columns(file, header)
        clips = []
        for values in rows:
            if any(value.strip() for value in values):
                clips.append(_clip(f"{file}: row {rows.line_num}", rows.line_num, columns, values))
    except csv.Error as error:
        raise UsageError(f"{file}: row {rows.line_num}: not CSV ({error}); correct it") from error
    if not clips:
        raise UsageError(f"{file}: lists no clips; add a row per clip under the header")
    count = sum(len(clip.frames) for clip in clips)
    if count > MAX_FRAMES:
        raise UsageError(f"{file}: asks for {count} frames, more than {MAX_FRAMES}; raise stride or divide it")
    for clip in {clip.video: clip for clip in reversed(clips)}.values():
        film_of(file, clip)
    return clips


def film_of(file: Path, clip: Clip) -> Path:
    """Return the film of a clip, which lies in the list's folder and nowhere else.

    Raises: UsageError for a name that leads elsewhere; MissingInputError if it is not there.
    """
    name = PurePosixPath(clip.video)
    path = file.parent / name
    where = f"{file}: row {clip.row}: video: {clip.video!r}"
    if name.is_absolute() or ".." in name.parts or "\\" in clip.video or "\0" in clip.video:
        raise UsageError(f"{where}: expected a name inside {file.parent}; put the film there")
    if not path.is_file():
        raise MissingInputError(f"{where}: no such file in {file.parent}; put the film there or correct the name")
    if not path.resolve().is_relative_to(file.parent.resolve()):
        raise UsageError(f"{where}: is a link that leads out of {file.parent}; put the film itself there")
    return path


def shots(clips: list[Clip]) -> dict[int, str]:
    """Return row -> the name of its shot: clips of a film whose frames overlap are one.

    So are clips that follow each other without a gap, unless their labels differ: then there is a cut between them.
    Frames of one shot look alike, so they are never divided between training and held-out images.
    """
    names: dict[int, str] = {}
    for video in sorted({clip.video for clip in clips}):
        run: list[Clip] = []
        for clip in sorted((c for c in clips if c.video == video), key=lambda c: (c.start, c.end, c.row)):
            if run and not _goes_on(run, clip):
                names |= _name(run)
                run = []
            run.append(clip)
        names |= _name(run)
    return names


def _goes_on(run: list[Clip], clip: Clip) -> bool:
    end = max(c.end for c in run)
    return clip.start <= end or (clip.start == end + 1 and clip.label in {c.label for c in run})


def _name(run: list[Clip]) -> dict[int, str]:
    label = ", ".join(sorted({clip.label for clip in run if clip.label}))
    name = f"{run[0].video} frames {run[0].start}-{max(clip.end for clip in run)} {label}".rstrip()
    return {clip.row: name for clip in run}


def _text(file: Path) -> str:
    if not file.is_file():
        raise MissingInputError(f"{file}: no such file (from {Path.cwd()}); expected columns: {_expected()}")
    with file.open("rb") as opened:
        content = opened.read(MAX_LIST + 1)
    if len(content) > MAX_LIST:
        raise CorruptInputError(f"{file}: more than {MAX_LIST} bytes; is it the right file?")
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CorruptInputError(f"{file}: row {line}: not UTF-8; save it as CSV in UTF-8") from error


def _expected() -> str:
    return ",".join(REQUIRED) + "[," + "[,".join(OPTIONAL) + "]" * len(OPTIONAL)


def _columns(file: Path, header: list[str]) -> list[str]:
    columns = [name.strip() for name in header]
    unknown = [name for name in columns if name not in REQUIRED + OPTIONAL]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    missing = [name for name in REQUIRED if name not in columns]
    for problem, names in (("columns twice", twice), ("unknown columns", unknown), ("missing columns", missing)):
        if names:
            shown = ", ".join(repr(name) for name in names)
            raise UsageError(f"{file}: row 1: {problem}: {shown}; expected {_expected()}")
    return columns


def _clip(where: str, row: int, columns: list[str], values: list[str]) -> Clip:
    if len(values) != len(columns):
        raise UsageError(f"{where}: {len(values)} values, expected {len(columns)} as in the header")
    cells = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    if not cells["video"]:
        raise UsageError(f"{where}: video: expected the name of a film, found nothing")
    start, end, x, y = (_number(where, name, cells[name], 0) for name in ("start_frame", "end_frame", "x", "y"))
    side = {name: _number(where, name, cells[name], 1) for name in ("w", "h")}
    stride = _number(where, "stride", cells.get("stride") or "1", 1)
    label = cells.get("label", "")
    clip = Clip(row, cells["video"], start, end, x, y, side["w"], side["h"], stride, label)
    if clip.end < clip.start:
        raise UsageError(f"{where}: end_frame: {clip.end} is before start_frame {clip.start}; both belong to the clip")
    return clip


def _number(where: str, name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= MAX_NUMBER):
        raise UsageError(f"{where}: {name}: expected a whole number from {least} on, found {text!r}")
    return int(text)
