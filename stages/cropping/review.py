"""The page on which a person looks through the crops and excludes some: one file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.files import atomic_write_text
from stages.cropping.exclusions import Excluder, Exclusion, line_of
from stages.cropping.report import Book, box_of

TEMPLATE = "review.html.jinja"
NO_LIST = "exclusions/none.txt"  # what datasets name that exclude nothing
PER_FILE = 2000  # crops
MOST_FILES = 10


@dataclass(frozen=True)
class ReviewHead:
    """What the page says about itself."""

    dataset: str
    exclude: str  # the file of exclusions that the dataset names
    params: str  # the params file
    resolution: int  # px of the crops


def write_review(folder: Path, book: Book, exclusions: Sequence[Exclusion], head: ReviewHead) -> None:
    """Write ``review.html`` (and ``review-2.html`` ... for more than 2,000 crops) into ``folder``.

    Args:
        folder: of the stage.
        book: all crops, excluded ones marked.
        exclusions: the lines of the list as it is.
        head: what the page says about itself.
    """
    template = _template()
    items = _items(book)
    files = [items[start : start + PER_FILE] for start in range(0, len(items), PER_FILE)][:MOST_FILES]
    names = ["review.html" if number == 1 else f"review-{number}.html" for number in range(1, len(files) + 1)]
    for name, shown in zip(names, files, strict=True):
        page = template.render(
            head=head,
            saved_as=f"exclusions/{head.dataset}.txt" if head.exclude == NO_LIST else head.exclude,
            counts=book.counts(),
            total=len(items),
            items=[item | {"uri": _uri(book.thumbnail(item["name"]))} for item in shown],
            others=_others(shown, exclusions),
            files=names,
            own=name,
        )
        atomic_write_text(folder / name, page + "\n")


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Autoescape for every template, whatever its suffix: titles of episodes come from the web.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _items(book: Book) -> list[dict[str, Any]]:
    """Return every crop, excluded ones too, the most suspicious first."""
    crops = book.crops | book.excluded
    names = sorted(crops)
    copies = {name: first for first, *others in book.alike for name in others}
    doubt = np.minimum(*(_ranks([crops[name][key] for name in names]) for key in ("score", "sharpness")))
    order = sorted(range(len(names)), key=lambda i: (names[i] not in copies, doubt[i], names[i]))
    found = []
    for index in order:
        name, crop = names[index], crops[names[index]]
        picture = book.files[crop["page"]]
        found.append(
            {
                "name": name,
                "line": line_of(picture["sha256"], box_of(crop["box"]), name),
                "origin": picture["origin"],
                "score": crop["score"],
                "sharpness": crop["sharpness"],
                "place": index,
                "like": copies.get(name),
                "out": name in book.excluded,
            }
        )
    return found


def _ranks(values: Sequence[float]) -> Any:
    """Return for each value the share of values that are not above it; values that are all equal say nothing (1)."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return np.searchsorted(ordered, values, side="right") / len(values)


def _others(shown: Sequence[dict[str, Any]], exclusions: Sequence[Exclusion]) -> list[str]:
    """Return the lines of the list that mean no crop shown here: a list saved from here keeps them."""
    excluder = Excluder(exclusions)
    for item in shown:
        digest, *box = item["line"].partition("  #")[0].split()
        excluder(digest, box_of([int(value) for value in box]))
    return [line.text for line in excluder.stale()]


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
