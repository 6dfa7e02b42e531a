"""The headline grid: the same faces by the source and every method, at a swap level that the reader moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stages.comparing.likeness import SIMILARITY
from stages.comparing.words import number, readable
from stages.report.album import Album
from stages.report.pictures import RULES, Shots
from stages.report.view import Point, View
from stages.report.words import column

LABELS = {"first": "first of the list", "random": "drawn at random", "worst": "the worst"}


def grid(view: View, dataset: str, shots: Mapping[str, Shots], faces: int, album: Album) -> dict[str, Any] | None:
    """Gather the grid of a dataset; None without pictures.

    Args:
        view: the comparison.
        dataset: its name.
        shots: pictures by method.
        faces: rows at most.
        album: takes the pictures in.

    Returns: ``data``, plain values for the page's script, and ``rows``, ``methods``, ``start`` for its static form.
    """
    shown = [method for method in view.methods(dataset) if method in shots]
    points = [p for p in view.of(dataset) if p.method in shown]
    if not shown:
        return None
    first = shots[shown[0]]
    source = {rule: [album.add(t, "tile") for t in first.tiles("source", rule)[:faces]] for rule in RULES}
    methods = [_method(view, dataset, method, shots[method], (faces, album)) for method in shown]
    own = any(shots[method].picks.worst[:faces] != first.picks.worst[:faces] for method in shown)
    kinds: list[dict[str, Any]] = [
        {"name": kind, "label": readable(kind), "levels": levels} for kind, levels in _ladders(points)
    ]
    data: dict[str, Any] = {
        "rules": [{"name": r, "label": LABELS[r], "z": first.picks.of(r)[:faces]} for r in RULES if source[r]],
        "by": column(first.picks.by).label, "style": column(view.style).label.split()[0],
        "source": source, "own": own, "methods": methods,
        "snapshots": [{"name": s, "label": readable(s)} for s in dict.fromkeys(p.snapshot for p in points)],
        "kinds": kinds, "start": _start(view, dataset, shown, kinds),
    }  # fmt: skip
    return {"data": data, "rows": _rows(data), "by": data["by"], "psi": first.picks.psi}


def _method(view: View, dataset: str, method: str, shots: Shots, room: tuple[int, Album]) -> dict[str, Any]:
    """Return the cells of a method by ``snapshot|kind|level``."""
    faces, album = room
    cells = {}
    for point in view.of(dataset, method):
        tiles = {rule: [album.add(t, "tile") for t in shots.tiles(point.file, rule)[:faces]] for rule in RULES}
        if any(tiles.values()):
            cells[_key(point)] = tiles | describe(view, point)
    best = view.recommended(dataset, method)
    sources = [album.add(t, "tile") for t in shots.tiles("source", "worst")[:faces]]
    worst = {"z": shots.picks.worst[:faces], "source": sources}
    recommended = _key(best) if best is not None and _key(best) in cells else next(iter(cells), "")
    index = list(view.table.about.methods).index(method)
    return {"label": readable(method), "index": index, "cells": cells, "recommended": recommended, "worst": worst}


def describe(view: View, point: Point) -> dict[str, Any]:
    """Return what stands above a method's column: its swap in words, likeness, style, and what is wrong with it."""
    return {
        "words": view.words(point),
        "likeness": number(point.mean.get(SIMILARITY), 2),
        "style": number(point.mean.get(view.style), 0 if point.mean.get(view.style, 0.0) >= 20 else 1),
        "flag": "" if point.ranked else "fails a gate",
        "drawn": view.limit(point.dataset) is None
        or point.mean.get(view.style, 0.0) <= (view.limit(point.dataset) or 0),
    }


def _key(point: Point) -> str:
    return f"{point.snapshot}|{point.swap}|{point.level}"


def _ladders(points: list[Point]) -> list[tuple[str, list[int]]]:
    """Return every kind of swap with its levels."""
    kinds = dict.fromkeys(p.swap for p in points if p.swap != "none")
    return [(kind, sorted({p.level for p in points if p.swap == kind})) for kind in kinds]


def _start(view: View, dataset: str, shown: list[str], kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return where the slider stands at first: at the level that most methods are recommended."""
    best = [p for p in (view.recommended(dataset, method) for method in shown) if p is not None]
    swapped = Counter((p.swap, p.level) for p in best if p.swap != "none")
    if not swapped:
        return {"kind": 0, "level": 0}
    kind, level = min(swapped, key=lambda name: (-swapped[name], name))
    index = next(i for i, entry in enumerate(kinds) if entry["name"] == kind)
    return {"kind": index, "level": 1 + kinds[index]["levels"].index(level)}


def _rows(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the grid as it is without a script: first faces, every method at its recommended level."""
    rule = data["rules"][0]["name"] if data["rules"] else "first"
    rows = []
    for index, z in enumerate(data["rules"][0]["z"] if data["rules"] else []):
        tiles = []
        for method in data["methods"]:
            strip = method["cells"].get(method["recommended"], {}).get(rule, [])
            tiles.append(strip[index] if index < len(strip) else "")
        rows.append({"z": z, "source": data["source"][rule][index], "tiles": tiles})
    return rows
