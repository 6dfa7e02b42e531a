"""Crops that a person does not want: a small file in git, one line each.

A line names a face by the picture it is on and by its box there, so it holds for other settings, names and detectors,
as long as they find the face in about the same place::

    <first 16 digits of the picture's sha256> x y width height  # name of the crop, for people
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model.data.faces.boxes import Box, overlap
from model.errors import MissingInputError, UsageError

DIGITS = 16  # of a sha256
SAME = 0.5  # intersection over union from which a face is the one that a line means
_LINE = re.compile(rf"([0-9a-f]{{{DIGITS}}})\s+(-?\d{{1,6}})\s+(-?\d{{1,6}})\s+([1-9]\d{{0,5}})\s+([1-9]\d{{0,5}})")


@dataclass(frozen=True)
class Exclusion:
    """One line of the file."""

    number: int  # of the line
    picture: str  # first 16 digits of its sha256
    box: Box  # px of the picture
    text: str  # the line as it stands


def line_of(sha256: str, box: Box, name: str) -> str:
    """Return the line that excludes the face ``box`` of the picture with this sha256."""
    return f"{sha256[:DIGITS]} {box.x} {box.y} {box.width} {box.height}  # {name}"


def read_exclusions(path: Path, key: str) -> list[Exclusion]:
    """Read a file of exclusions.

    Args:
        path: the file; ``#`` starts a comment.
        key: the params key that names it, for messages.

    Raises: MissingInputError without a file; UsageError naming the first line that is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise MissingInputError(
            f"{key}: {path}: no such file (from {Path.cwd()}); create it, empty, or name exclusions/none.txt"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{key}: {path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        match = _LINE.fullmatch(said)
        if match is None:
            raise UsageError(
                f"{key}: {path}: line {number}: found {said[:60]!r}, expected `{DIGITS} digits of the picture's "
                "sha256, x, y, width, height  # comment`; correct it, or save the list anew from review.html"
            )
        x, y, width, height = (int(value) for value in match.groups()[1:])
        found.append(Exclusion(number, match[1], Box(y, x, width, height), line.strip()))
    return found


class Excluder:
    """Says which faces are excluded, and afterwards which lines meant none."""

    def __init__(self, exclusions: Iterable[Exclusion]) -> None:
        self._on: dict[str, list[Exclusion]] = {}
        for exclusion in exclusions:
            self._on.setdefault(exclusion.picture, []).append(exclusion)
        self._used: set[int] = set()

    def __call__(self, sha256: str, box: Box) -> Exclusion | None:
        """Return the line that means the face ``box`` of this picture."""
        lines = self._on.get(sha256[:DIGITS], [])
        meant = [line for line in lines if overlap(line.box, box)[0] > SAME]
        self._used |= {line.number for line in meant}
        return max(meant, key=lambda line: overlap(line.box, box)[0], default=None)

    def stale(self) -> list[Exclusion]:
        """Return the lines that meant no face so far, in their order."""
        unused = [line for lines in self._on.values() for line in lines if line.number not in self._used]
        return sorted(unused, key=lambda line: line.number)
