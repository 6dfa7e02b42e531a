"""The folder ``pictures`` beside the table: strips of tiles and sheets of every method on every dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from model.data.images import UInt8, read_image
from model.errors import CorruptInputError

RULES = ("first", "random", "worst")  # by which faces are shown, in the order of a strip's tiles
Tiles = list[UInt8]


@dataclass(frozen=True)
class Picks:
    """Which faces the tiles of a method show (``picks.json``)."""

    first: list[int]  # numbers of z
    random: list[int]
    worst: list[int]
    by: str  # the measure that chose the worst
    psi: float  # truncation of w; 1 is none
    scores: list[float]  # of the worst

    def of(self, rule: str) -> list[int]:
        """Return the numbers of z that a rule chose."""
        found: list[int] = getattr(self, rule)
        return found


@dataclass(frozen=True)
class Shots:
    """The pictures of a method on a dataset, by its first seed."""

    folder: Path
    picks: Picks

    def tiles(self, file: str, rule: str) -> Tiles:
        """Return the tiles of a strip (``source``, ``weights-8``, ``best/none-0``) that a rule chose.

        Returns: uint8 ``[R, R, 3]`` each; empty if there is no such strip.
        Raises: CorruptInputError if the strip does not hold one square tile per pick.
        """
        path = self.folder / "tiles" / f"{file}.png"
        if not path.is_file():
            return []
        image = read_image(path)
        side, count = image.shape[0], sum(len(self.picks.of(name)) for name in RULES)
        if image.shape[1] != side * count:
            raise CorruptInputError(
                f"{path}: {image.shape[1]} x {side} px, expected {count} square tiles side by side; evaluate again"
            )
        start = sum(len(self.picks.of(name)) for name in RULES[: RULES.index(rule)])
        stop = start + len(self.picks.of(rule))
        return [image[:, x * side : (x + 1) * side] for x in range(start, stop)]

    def sheet(self, name: str) -> UInt8 | None:
        """Return ``nearest``, ``failures`` or ``sample``; None without one."""
        path = self.folder / f"{name}.png"
        return read_image(path) if path.is_file() else None


def shots_of(pictures: Path, method: str, dataset: str) -> Shots | None:
    """Return the pictures of a method on a dataset; None where there are none.

    Raises: CorruptInputError if its picks cannot be read.
    """
    folder = pictures / f"{method}-{dataset}"
    path = folder / "picks.json"
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text())
        picks = Picks(**{field.name: read[field.name] for field in fields(Picks)})
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptInputError(f"{path}: not the picks of an evaluation ({error!r}); evaluate again") from error
    return Shots(folder, picks)
