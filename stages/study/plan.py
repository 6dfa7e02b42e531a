"""What a rater may be asked: pairs of methods on the same latent, under names that say nothing.

The page and the analysis both make the plan from the comparison's own folder, so the key to who drew what is never in
the page. The digest covers every question and every picture: answers to one study are never counted in another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from model.data.images import UInt8, read_image
from model.errors import CorruptInputError, MissingInputError
from stages.comparing.table import Table

STYLE, PERSON = "style", "person"
QUESTIONS = {STYLE: "Which looks more like the drawings?", PERSON: "Which keeps the person on the left?"}
SOURCE, REAL = "the source", "a real drawing"  # sides of attention checks; no method can have a name with a space
REFERENCES = 3  # real drawings beside a question of style
TRAPS = 24  # attention checks to draw from, at most, per dataset and question
FORMAT = 1
Asked = tuple[str, str, str, str, str]  # question, dataset, a, b, right: as in Item


@dataclass(frozen=True)
class Item:
    """One question about two pictures; ``a`` and ``b`` say who drew them, for the analysis alone."""

    name: str  # opaque
    question: str  # a key of QUESTIONS
    dataset: str
    a: str  # method, SOURCE or REAL
    b: str
    right: str  # "a" or "b" where everybody must agree (an attention check), else empty
    pictures: tuple[str, str]  # opaque names of the pictures a and b
    beside: tuple[str, ...]  # of the pictures shown for reference
    stratum: int  # questions of one kind: same question, dataset and methods


@dataclass(frozen=True)
class Study:
    """All questions and pictures."""

    items: tuple[Item, ...]
    pictures: dict[str, UInt8]  # opaque name -> [S, S, 3]
    methods: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class _Drawn:
    """The pictures of one dataset."""

    dataset: str
    source: list[UInt8]
    methods: dict[str, list[UInt8]]
    real: list[UInt8]


def plan(table: Table, pictures: Path) -> Study:
    """List every question that the comparison's pictures allow.

    Args:
        table: of the comparison; its findings say which swap level of a method is recommended.
        pictures: the folder ``pictures`` beside it.

    Raises: MissingInputError if no dataset has pictures of two methods; CorruptInputError for a damaged strip.
    """
    drawn = [_drawn(table, dataset, pictures) for dataset in table.about.datasets]
    found = [asked for each in drawn if len(each.methods) > 1 for asked in _questions(each) if _differ(asked[1])]
    if not found:
        raise MissingInputError(f"{pictures}: no dataset has pictures of two methods; run `dvc repro` to compare again")
    store: dict[str, UInt8] = {_digest_of(image): image for _, images in found for image in images}
    rows = [(question, [_digest_of(image) for image in images]) for question, images in found]
    digest = _digest({"format": FORMAT, "questions": QUESTIONS, "items": rows})
    chance = np.random.Generator(np.random.Philox(key=int(digest[:16], 16)))
    names = {key: f"p{place:04d}" for place, key in zip(chance.permutation(len(store)), sorted(store), strict=True)}
    strata = {key: place for place, key in enumerate(dict.fromkeys(_stratum(question) for question, _ in rows))}
    places = chance.permutation(len(rows))
    items = []
    for place, (question, keys) in zip(places, rows, strict=True):
        shown = tuple(names[key] for key in keys)
        item = Item(f"i{place:04d}", *question, (shown[0], shown[1]), shown[2:], strata[_stratum(question)])
        items.append(item)
    held = {names[key]: store[key] for key in sorted(store, key=names.__getitem__)}
    methods = tuple(method for method in table.about.methods if any(method in each.methods for each in drawn))
    return Study(tuple(sorted(items, key=lambda item: item.name)), held, methods, digest)


def _questions(drawn: _Drawn) -> Iterator[tuple[Asked, list[UInt8]]]:
    """Yield question, dataset, a, b and right of an item, and the pictures a, b and those beside them."""
    faces = range(min(len(strip) for strip in [drawn.source, *drawn.methods.values()]))
    beside = {PERSON: lambda face: [drawn.source[face]], STYLE: lambda face: _references(drawn.real, face)}
    asked = [PERSON, STYLE] if drawn.real else [PERSON]
    for question in asked:
        for a, b in combinations(drawn.methods, 2):
            for face in faces:
                yield (
                    (question, drawn.dataset, a, b, ""),
                    [drawn.methods[a][face], drawn.methods[b][face], *beside[question](face)],
                )
    names = list(drawn.methods)
    for face in list(faces)[:TRAPS]:
        method, other = names[face % len(names)], (face + 1) % len(faces)
        # The source itself beside somebody else's drawing; a real drawing, not one of those shown, beside a photograph.
        check = (PERSON, drawn.dataset, SOURCE, method, "a")
        yield check, [drawn.source[face], drawn.methods[method][other], drawn.source[face]]
        if len(drawn.real) > REFERENCES:
            check, shown = (STYLE, drawn.dataset, REAL, SOURCE, "a"), _references(drawn.real, face)
            yield check, [drawn.real[(face + REFERENCES) % len(drawn.real)], drawn.source[face], *shown]


def _differ(images: Sequence[UInt8]) -> bool:
    """Two methods that drew the same pixels leave nothing to choose."""
    return not np.array_equal(images[0], images[1])


def _references(real: Sequence[UInt8], face: int) -> list[UInt8]:
    return [real[(face + step) % len(real)] for step in range(min(REFERENCES, len(real)))]


def _stratum(asked: Asked) -> tuple[str, ...]:
    question, dataset, a, b, right = asked
    return question, dataset, "check" if right else f"{a}/{b}"


def _drawn(table: Table, dataset: str, pictures: Path) -> _Drawn:
    source: list[UInt8] = []
    methods: dict[str, list[UInt8]] = {}
    nearest: list[list[UInt8]] = []
    for method in table.about.methods:
        folder = pictures / f"{method}-{dataset}"
        strip = folder / "tiles" / f"{_cell(table, dataset, method)}.png"
        if not strip.is_file():
            continue
        count = _by_rule(folder / "picks.json")
        methods[method] = _tiles(strip)[:count]
        source = source or _tiles(folder / "tiles" / "source.png")[:count]
        if (folder / "nearest.png").is_file():
            nearest.append(_below(folder / "nearest.png"))
    # Real drawings lie below the generated ones they are close to; all methods lend theirs in turn.
    turns = range(max(map(len, nearest), default=0))
    lent = [image for turn in turns for row in nearest for image in row[turn : turn + 1]]
    return _Drawn(dataset, source, methods, list({_digest_of(image): image for image in lent}.values()))


def _cell(table: Table, dataset: str, method: str) -> str:
    """Return the file name of a method's strip at its recommended level; without one, as it was trained."""
    points = [p for p in table.about.findings["points"] if (p["dataset"], p["method"]) == (dataset, method)]
    chosen = [p for p in points if p["recommended"]] or [p for p in points if p["swap"] == "none"]
    if not chosen:
        return "none-0"
    place = f"{chosen[0]['swap']}-{chosen[0]['level']}"
    return f"{chosen[0]['snapshot']}/{place}" if chosen[0]["snapshot"] else place


def _by_rule(picks: Path) -> int:
    """Return how many tiles were chosen without looking: the first and the random ones."""
    try:
        rules = json.loads(picks.read_text(encoding="utf-8"))
        return len(rules["first"]) + len(rules["random"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{picks}: cannot be read ({type(error).__name__}: {error}); run `dvc repro` to compare again"
        raise CorruptInputError(message) from error


def _tiles(path: Path) -> list[UInt8]:
    """Cut a strip of square tiles."""
    strip = read_image(path)
    side = strip.shape[0]
    if strip.shape[1] % side:
        raise CorruptInputError(f"{path}: {strip.shape[1]} px wide, expected a multiple of its height, {side} px")
    return [strip[:, start : start + side] for start in range(0, strip.shape[1], side)]


def _below(path: Path) -> list[UInt8]:
    """Cut the lower row of two rows of square tiles."""
    sheet = read_image(path)
    side = sheet.shape[0] // 2
    return [sheet[side : 2 * side, start : start + side] for start in range(0, sheet.shape[1] - side + 1, side)]


def _digest_of(image: UInt8) -> str:
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
