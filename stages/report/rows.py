"""The page's table: a line per point, numbers to sort by, and what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.metrics.names import parse
from stages.comparing.likeness import SIMILARITY
from stages.comparing.words import number, readable
from stages.report.view import Point, View
from stages.report.words import COLUMNS, GATES, blocks, column, measured_by

ANCHORS = {
    "source": "source, untuned", "shuffled": "shuffled pairs: somebody else's face",
    "real_split": "drawings against drawings",
}  # fmt: skip
ARROWS = {"lower": "\N{DOWNWARDS ARROW}", "higher": "\N{UPWARDS ARROW}", "": ""}
ICONS = {"": "", "pass": "\N{CHECK MARK}", "alarm": "\N{WARNING SIGN}", "fail": "\N{MULTIPLICATION X}"}


def table(view: View, dataset: str) -> dict[str, Any]:
    """Return the table of a dataset: heads, anchors and rows, all numbers as text and as something to sort by."""
    keys, points = shown(view, dataset), view.of(dataset)
    best = {key: _best(points, key) for key in keys}
    return {
        "heads": [_head(view, key) for key in keys],
        "gates": any(point.gates for point in points),
        "anchors": [
            {"label": label, "entries": [number(values.get(key), column(key).digits) for key in keys]}
            for name, label in ANCHORS.items()
            if (values := view.anchor(dataset, name))
        ],
        "rows": [_row(view, point, keys, best) for point in points],
        "seeds": len(view.table.about.seeds) > 1,
        "snapshots": len({p.snapshot for p in points}) > 1,
        "lead": min(2, len(keys)),
        "more": any(not _main(view, key) for key in keys),
    }


def shown(view: View, dataset: str) -> list[str]:
    """Return the metrics that some point of a dataset has and the page knows, in its order; headline ones first."""
    order = list(COLUMNS)
    keys = dict.fromkeys(key for point in view.of(dataset) for key in point.mean if parse(key).family in COLUMNS)
    found = sorted(keys, key=lambda key: (order.index(parse(key).family), key != view.style, key))
    return sorted(found, key=lambda key: not _main(view, key))


def _main(view: View, key: str) -> bool:
    """Tell whether a column is shown without being asked for."""
    about, name = view.table.about, parse(key)
    if key in (SIMILARITY, about.style, about.fid, *about.measures):
        return True
    return name.family in ("kid_heldout_x1e3", "nn_ratio", "coverage") and name.extractor == view.extractor()


def _head(view: View, key: str) -> dict[str, Any]:
    found, name = column(key), parse(key)
    trained = [
        readable(m) for m, keys in view.table.about.findings.get("trained_on", {}).items() if name.family in keys
    ]
    hint = found.hint + (f"; {', '.join(trained)} trains on it, so it does not rank there" if trained else "")
    return {
        "label": found.label, "arrow": ARROWS[found.better], "better": found.better, "by": measured_by(key),
        "hint": hint, "main": _main(view, key),
    }  # fmt: skip


def _gate(point: Point) -> dict[str, str]:
    """Return the worst state of a point's gates, and which gates are in it."""
    state = max(point.gates.values(), key=lambda value: list(ICONS).index(value), default="")
    names = [GATES.get(name, readable(name)) for name, value in sorted(point.gates.items()) if value == state]
    text = state if state in ("", "pass") else f"{' and '.join(names)}: {state}"
    return {"state": state, "icon": ICONS[state], "text": text, "order": str(list(ICONS).index(state))}


def _best(points: Sequence[Point], key: str) -> str | None:
    """Return the best text of a column; None where nothing is ranked."""
    found, values = column(key), [p.mean[key] for p in points if key in p.mean and p.ranked]
    if not found.better or len(values) < 2:
        return None
    return number(min(values) if found.better == "lower" else max(values), found.digits)


def _row(view: View, point: Point, keys: Sequence[str], best: dict[str, str | None]) -> dict[str, Any]:
    methods, kinds = list(view.table.about.methods), ["none", *sorted({p.swap for p in view.points} - {"none"})]
    return {
        "index": methods.index(point.method), "method": readable(point.method), "snapshot": readable(point.snapshot),
        "swap": blocks(view.kinds, point.swap, point.level), "order": f"{kinds.index(point.swap)} {point.level:05d}",
        "seeds": point.seeds,
        "recommended": point.recommended, "ranked": point.ranked, "dominated": point.dominated,
        "gate": _gate(point),
        "entries": [_entry(view, point, key, best[key]) for key in keys],
    }  # fmt: skip


def _entry(view: View, point: Point, key: str, best: str | None) -> dict[str, Any]:
    digits, value, spread = column(key).digits, point.mean.get(key), view.spread(point, key)
    text, trained = number(value, digits), _trained(view, point, key)
    half = number((spread.high - spread.low) / 2, digits) if spread is not None else ""
    return {
        "text": text, "spread": half, "value": "" if value is None else f"{value:.9g}", "trained": trained,
        "best": point.ranked and text == best and not trained, "verdict": _verdict(view, point, key),
    }  # fmt: skip


def _trained(view: View, point: Point, key: str) -> bool:
    return parse(key).family in view.table.about.findings.get("trained_on", {}).get(point.method, [])


def _verdict(view: View, point: Point, key: str) -> str:
    """Return ``better`` or ``worse`` where a test against the baseline at this very point says so."""
    side = column(key).better
    for one in view.table.about.findings.get("differences", []):
        if (one["dataset"], one["method"], one["measure"]) != (point.dataset, point.method, key):
            continue
        plain = point == view.plain(point.dataset, point.method)
        here = (one["at"] == "no swap" and plain) or (one["at"] == "recommended" and point.recommended)
        if here and one["significant"] and side:
            return "better" if (one["difference"] > 0) == (side == "higher") else "worse"
    return ""
