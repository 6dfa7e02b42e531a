"""The page: one file with everything inlined, that runs nothing but its own script and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model.errors import UsageError
from stages.comparing.palette import colours
from stages.comparing.words import readable
from stages.report.album import RUNGS, URI, Album
from stages.report.answer import answer, differences, honesty
from stages.report.figures import Figures
from stages.report.grid import grid
from stages.report.look import shape
from stages.report.pictures import Shots
from stages.report.rows import table
from stages.report.scatter import DASHES, scatter
from stages.report.view import View
from stages.report.words import column, counted

TEMPLATES = Path(__file__).parent / "templates"
SHEETS = {  # file -> title, what it shows
    "nearest": ("Closest to the training images", "Above: what resembles a training image most. Below: that image."),
    "failures": ("Where it fails most", "The worst pairs: the source above, the drawing below."),
    "sample": ("The last samples of the training", "What the method draws at the end of its training."),
}  # fmt: skip
AllShots = Mapping[tuple[str, str], Shots]  # (method, dataset) -> pictures


def html(view: View, shots: AllShots, figures: Figures, faces: int, max_mb: float) -> str:
    """Return the page; equal arguments give equal text.

    Args:
        view: the comparison.
        shots: pictures of methods on datasets; those without any are left out.
        figures: drawn ones, on light and on dark ground.
        faces: rows of the grids, at most.
        max_mb: of the page, in millions of bytes. Pictures are made smaller, then fewer, until it fits.

    Raises: UsageError if it never fits.
    """
    limit, smallest = max_mb * 1e6, 0
    while faces:
        album = Album()
        context = _context(view, shots, figures, (faces, album))
        for rung in RUNGS:
            pictures = album.encode(rung)
            if sum(map(len, pictures.values())) > limit:
                continue
            text = _render(context, pictures)
            smallest = len(text.encode())
            if smallest <= limit:
                return text
        faces //= 2
    found = f"{smallest / 1e6:.2f} MB" if smallest else "more than that for its pictures alone"
    raise UsageError(
        f"page.max_mb: found {max_mb:g}, the page needs {found} with one face per grid and the smallest pictures; "
        "raise it, or compare fewer snapshots, kinds or levels"
    )


def _context(view: View, shots: AllShots, figures: Figures, room: tuple[int, Album]) -> dict[str, Any]:
    about = view.table.about
    sections = [_section(view, dataset, shots, room) | _drawn(figures, dataset, room[1]) for dataset in view.datasets]
    return {
        "profile": about.profile, "command": about.command, "digests": about.digests,
        "methods": [{"name": name, "label": readable(name)} for name in about.methods],
        "hues": list(colours(list(about.methods)).values()),
        "answers": [answer(view, dataset) for dataset in view.datasets], "honesty": honesty(view),
        "sections": [section | {"index": index, "id": f"dataset-{index}"} for index, section in enumerate(sections)],
    }  # fmt: skip


def _section(view: View, dataset: str, shots: AllShots, room: tuple[int, Album]) -> dict[str, Any]:
    """Return everything of one dataset."""
    faces, album = room
    mine = {method: found for (method, of), found in shots.items() if of == dataset}
    points, methods = view.of(dataset), list(view.table.about.methods)
    keys = dict.fromkeys((view.style, view.table.about.fid))
    kinds = dict.fromkeys(p.swap for p in points if p.swap != "none")
    drawn = grid(view, dataset, mine, faces, album)
    numbers = table(view, dataset)
    return {
        "name": readable(dataset), "grid": drawn, "table": numbers, "table_style": column(view.style).label,
        "trained": any(entry["trained"] for row in numbers["rows"] for entry in row["entries"]),
        "plots": [plot for key in keys if (plot := scatter(view, dataset, key))],
        "levels": [
            {"shape": shape(n), "text": f"up to {n} px" if n else "no swap"} for n in sorted({p.level for p in points})
        ],
        "kinds": [{"text": readable(kind), "dash": DASHES[i % len(DASHES)]} for i, kind in enumerate(kinds)],
        "methods": [{"index": methods.index(m), "label": readable(m)} for m in view.methods(dataset)],
        "differences": differences(view, dataset), "sweeps": _sweeps(drawn),
        "sheets": _sheets(view, dataset, mine, album),
    }  # fmt: skip


def _drawn(figures: Figures, dataset: str, album: Album) -> dict[str, list[str]]:
    """Return the names of two figures, on light and on dark ground; the page draws the third one itself."""
    places = {"ladder": "ladder", "kimg": "curves"}
    return {
        key: [album.add(image, "figure") for image in figures.get((name, dataset), [])] for name, key in places.items()
    }


def _sweeps(drawn: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return, per method, the first faces at every swap level."""
    found = []
    data = drawn["data"] if drawn else {"methods": [], "rules": []}
    for method in data["methods"] if data["rules"] else []:
        rule, columns = data["rules"][0], list(method["cells"].values())
        strips = [data["source"][rule["name"]], *(cell[rule["name"]] for cell in columns)]
        rows = [
            {"z": z, "tiles": [strip[index] for strip in strips]}
            for index, z in enumerate(rule["z"])
            if all(index < len(strip) for strip in strips)
        ]
        found.append({"index": method["index"], "label": method["label"], "columns": columns, "rows": rows})
    return found


def _sheets(view: View, dataset: str, shots: Mapping[str, Shots], album: Album) -> list[dict[str, Any]]:
    """Return the galleries: title, what it shows, and a sheet per method."""
    groups = []
    for file, (title, hint) in SHEETS.items():
        sheets = []
        for index, method in enumerate(view.table.about.methods):
            image = shots[method].sheet(file) if method in shots else None
            if image is not None:
                name, alt = album.add(image, "sheet"), f"{title}: {readable(method)} on {readable(dataset)}"
                sheets.append({"index": index, "method": readable(method), "name": name, "alt": alt})
        if sheets:
            groups.append({"title": title, "hint": hint, "sheets": sheets})
    return groups


def _render(context: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Fill the templates in; every picture lands in the page once: in an image, or in the script's data."""
    # Autoescape for every template, whatever its suffix: names come from params files.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: set[str] = set()

    def uri(name: str) -> str:
        shown.add(name)
        return URI + pictures[name]

    def data() -> Markup:
        rest = {name: text for name, text in pictures.items() if name not in shown}
        grids = [section["grid"]["data"] if section["grid"] else None for section in context["sections"]]
        return _script_json({"uri": URI, "pictures": rest, "grids": grids})

    environment.filters.update(
        uri=uri, counted=counted, unbroken=lambda t: str(t).replace(" px", "\N{NO-BREAK SPACE}px")
    )
    style, script = (Markup(environment.get_template(f"page.{kind}.jinja").render(context)) for kind in ("css", "js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = environment.get_template("page.html.jinja")
    return page.render(context, style=style, script=script, policy=Markup(policy), data=data) + "\n"


def _hash(text: str) -> str:
    """Return what a content security policy knows an inline element by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _script_json(value: object) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)
