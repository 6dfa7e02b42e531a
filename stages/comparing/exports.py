"""What other programs read: every cell as CSV, what ``dvc plots diff`` draws, and the numbers that git keeps."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from stages.comparing.likeness import SIMILARITY
from stages.comparing.points import Point
from stages.comparing.statistics import NO_SWAP, RECOMMENDED, find
from stages.comparing.table import GATE, PLACE, Cell
from stages.comparing.view import View
from stages.comparing.words import readable, swap_words

KID_OF_SNAPSHOTS = "kid"  # in the curves of a training


def cells_csv(cells: Sequence[Cell]) -> str:
    """Return one row per cell: where it stands, its gates, every metric at full precision."""
    gates = list(dict.fromkeys(gate for cell in cells for gate in cell.gates))
    keys = list(dict.fromkeys(key for cell in cells for key in cell.values))
    rows = (
        [*(getattr(cell, name) for name in PLACE), *(cell.gates.get(gate, "") for gate in gates),
         *(repr(cell.values[key]) if key in cell.values else "" for key in keys)]
        for cell in cells
    )  # fmt: skip
    return _csv([*PLACE, *gates, *keys], rows)


def pareto_csv(views: Sequence[View]) -> str:
    """Return one row per point: its style against its likeness."""
    head = ["dataset", "method", "snapshot", "swap", "level", "similarity", "kid", "fid", "label"]
    return _csv(head, (_place(view, point) for view in views for point in view.points if SIMILARITY in point.mean))


def _place(view: View, point: Point) -> list[object]:
    numbers = [point.mean[SIMILARITY], view.scale.style(point), point.mean[view.fid]]
    where = [view.dataset, point.method, point.snapshot, point.swap, point.level]
    return [*where, *numbers, f"{readable(point.method)}, {point}"]


def levels_csv(views: Sequence[View]) -> str:
    """Return the swap ladders, one curve per dataset, method, snapshot and kind of swap, each from no swap (0 px)."""
    head = ["series", "dataset", "method", "snapshot", "swap", "level", "similarity", "kid", "fid"]
    return _csv(head, (row for view in views for row in _ladders(view)))


def _ladders(view: View) -> Iterable[list[object]]:
    for method in view.methods:
        points = [point for point in view.of(method) if SIMILARITY in point.mean]
        for snapshot, kind in dict.fromkeys((p.snapshot, p.swap) for p in points if p.level):
            for point in points:
                if point.snapshot == snapshot and (point.swap == "none" or (point.swap == kind and point.level)):
                    series = " ".join(part for part in (view.dataset, method, snapshot, kind) if part)
                    numbers = [point.mean[SIMILARITY], view.scale.style(point), point.mean[view.fid]]
                    yield [series, view.dataset, method, snapshot, kind, point.level, *numbers]


def kimg_csv(trainings: Sequence[Mapping[str, Any]]) -> str:
    """Return the KID of snapshots to held-out images (x 10³), one curve per dataset and method: means over seeds."""
    curves: dict[tuple[str, str], dict[float, list[float]]] = {}
    for training in trainings:
        curve = curves.setdefault((training["dataset"], training["method"]), {})
        for kimg, value in training["stats"].get(KID_OF_SNAPSHOTS, []):
            curve.setdefault(kimg, []).append(value)
    rows = (
        [f"{dataset} {method}", dataset, method, kimg, fmean(values), len(values)]
        for (dataset, method), curve in curves.items()
        for kimg, values in sorted(curve.items())
    )
    return _csv(["series", "dataset", "method", "kimg", "kid", "seeds"], rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def headline(views: Sequence[View], found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return dataset -> method -> the few numbers worth keeping in git, under keys that stay the same.

    ``no_swap`` and ``recommended`` say what is measured there; ``against_baseline`` by how much the method is closer to
    the source, without a swap and at comparable KID, and how sure that is; ``gates`` the worst verdicts without a swap.
    """
    result: dict[str, dict[str, Any]] = {}
    for view in views:
        for method in view.methods:
            start, chosen = view.start(method), view.chosen[method]
            entry: dict[str, Any] = {
                "no_swap": None if start is None else _measured(view, start),
                "recommended": None if chosen is None else {"where": _label(chosen), **_measured(view, chosen)},
                "gates": {} if start is None else {k.removeprefix(GATE): v for k, v in start.gates.items()},
            }
            if method in view.rivals:
                entry["against_baseline"] = _against(view, method, found)
            result.setdefault(view.dataset, {})[method] = _rounded(entry)
    return result


def _label(point: Point) -> str:
    words = swap_words(point.swap, point.level)
    return f"{point.snapshot}, {words}" if point.snapshot else words


def _measured(view: View, point: Point) -> dict[str, float | None]:
    return {
        "kid": view.scale.style(point), "fid": point.mean[view.fid], SIMILARITY: point.mean.get(SIMILARITY),
    }  # fmt: skip


def _against(view: View, method: str, found: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for at in (NO_SWAP, RECOMMENDED):
        row = find(found["differences"], view.dataset, method, SIMILARITY, at)
        names = {"gain": "difference", "low": "low", "high": "high", "p_holm": "p_holm", "significant": "significant"}
        entry[at.replace(" ", "_")] = None if row is None else {name: row[key] for name, key in names.items()}
    claim = found["claims"][view.dataset].get(method)
    entry["comparable_kid"] = None if claim is None else {
        "where": swap_words(claim["swap"], claim["level"]), "kid": claim["kid"], "gain": claim["gain"],
        "seeds_won": claim["seeds_won"], "seeds": claim["seeds"],
    }  # fmt: skip
    return entry


def _rounded(value: Any) -> Any:
    """Round to six significant digits: the file lies in git and is read by people."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
