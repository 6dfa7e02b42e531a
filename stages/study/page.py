"""The page of blind choices: one file that works offline, asks, and hands the answers out as JSON.

It holds pictures under opaque names and no name of a method or dataset; who drew what, and which questions have one
right answer, is known to the analysis alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from model.data.images import UInt8, resize
from model.errors import UsageError
from stages.comparing.table import Table
from stages.study.exports import SCHEMA
from stages.study.plan import QUESTIONS, Study, plan

_LIMIT = 4_800_000  # bytes of pictures as text; the page stays below 5 MB
_SIDES = (256, 192, 128, 96, 64)  # px, tried in turn where pictures as they are would be too much
_QUALITY = 90  # of lossy WebP: nothing to see at these sizes
CHECK_EVERY = 5  # one attention check per so many questions


@dataclass(frozen=True)
class _Form:
    side: int  # px at most
    lossless: bool


def study_html(table: Table, pictures: Path, pairs: int) -> str:
    """Return the page; equal comparisons give equal text.

    Args:
        table: of the comparison.
        pictures: the folder ``pictures`` beside it.
        pairs: questions per rater, attention checks come on top.

    Raises: UsageError for less than one pair; MissingInputError if there are no two methods to choose between.
    """
    if pairs < 1:
        raise UsageError(f"page.study_pairs: found {pairs}, expected 1 or more")
    return render(plan(table, pictures), pairs)


def render(study: Study, pairs: int) -> str:
    """Return the page of a study."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style, script = (environment.get_template(f"page.{kind}.jinja").render() for kind in ("css", "js"))
    data = json.dumps(_content(study, pairs), sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"style": Markup(style), "script": Markup(script), "data": Markup(data)}
    hashes = {"style_hash": _hash(style), "script_hash": _hash(script)}
    return environment.get_template("page.html.jinja").render(**parts, **hashes) + "\n"


def _content(study: Study, pairs: int) -> dict[str, Any]:
    """Return what the script reads: questions in strata, pictures as data addresses."""
    strata: dict[int, dict[str, Any]] = {}
    for item in study.items:
        group = strata.setdefault(item.stratum, {"question": item.question, "check": bool(item.right), "items": []})
        group["items"].append([item.name, *item.pictures, *item.beside])
    return {
        "schema": SCHEMA,
        "study": study.digest,
        "pairs": pairs,
        "checks": max(4, -(-pairs // CHECK_EVERY)),
        "questions": QUESTIONS,
        "strata": [strata[key] for key in sorted(strata)],
        "pictures": _addresses(study),
    }


def _addresses(study: Study) -> dict[str, str]:
    """Encode the pictures, in the best form that keeps the page small enough."""
    forms = [_Form(10**6, lossless=True), *(_Form(side, lossless=False) for side in _SIDES)]
    for form in forms:
        found: dict[str, str] = {}
        room = _LIMIT
        for name, image in study.pictures.items():
            found[name] = _address(image, form)
            room -= len(found[name])
            if room < 0:
                break
        else:
            return found
    raise UsageError(f"{len(study.pictures)} pictures are too many for one page; lower evaluate.tiles")


def _address(image: UInt8, form: _Form) -> str:
    from PIL import Image

    buffer = BytesIO()
    shown = resize(image, min(form.side, image.shape[0]))
    Image.fromarray(shown).save(buffer, format="WEBP", lossless=form.lossless, quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
