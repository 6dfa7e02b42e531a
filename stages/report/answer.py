"""What the numbers say, in a minute: who keeps the face best, what it costs in style, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.comparing.likeness import SIMILARITY
from stages.comparing.words import TIMES, chance, number, readable, signed
from stages.report.view import Point, View, heading
from stages.report.words import GATES, column

SHIPPED = ("stylenet", "attributenet")  # small networks that come with the code, instead of the field's own
FULL = 100.0  # length of a bar


def answer(view: View, dataset: str) -> dict[str, Any]:
    """Return the sentences of a dataset and one line per method, the most similar first."""
    found = [p for m in view.methods(dataset) if (p := view.recommended(dataset, m)) is not None]
    lines = [_line(view, point) for point in found]
    lines.sort(key=lambda line: (not line["ranked"], -line["value"]))
    if lines and lines[0]["ranked"]:
        lines[0]["first"] = True
    return {
        "name": readable(dataset), "lines": lines,
        "sentences": list(view.table.about.findings.get("summary", {}).get(dataset, [])),
        "style": column(view.style).label, "baseline": readable(str(view.table.about.settings.get("baseline", ""))),
        "source": number(view.anchor(dataset, "source").get(view.style), 0),
    }  # fmt: skip


def _line(view: View, point: Point) -> dict[str, Any]:
    likeness, style = point.mean.get(SIMILARITY), point.mean.get(view.style)
    source = view.anchor(point.dataset, "source").get(view.style)
    spread = view.spread(point, SIMILARITY)
    plain = view.plain(point.dataset, point.method)
    return {
        "index": list(view.table.about.methods).index(point.method), "method": readable(point.method),
        "words": view.words(point), "ranked": point.ranked, "value": likeness if likeness is not None else -9.0,
        "likeness": number(likeness, 2), "interval": _interval(view, point, SIMILARITY, 2),
        "bar": _bar(likeness, 1.0), "low": _bar(spread.low, 1.0) if spread else 0.0,
        "high": _bar(spread.high, 1.0) if spread else 0.0, "style": number(style, 0),
        "cost": _bar(style, source), "style_interval": _interval(view, point, view.style, 0),
        "share": f"{100 * style / source:.0f} % of the untuned source's" if style is not None and source else "",
        "start": f"without a swap: {number(plain.mean.get(SIMILARITY), 2)} at {number(plain.mean.get(view.style), 0)}"
        if plain is not None and plain != point else "", "verdict": _verdict(view, point), "first": False,
    }  # fmt: skip


def _bar(value: float | None, full: float | None) -> float:
    """Return a length between 0 and FULL."""
    return round(FULL * min(max(value / full, 0.0), 1.0), 1) if value is not None and full else 0.0


def _interval(view: View, point: Point, key: str, digits: int) -> str:
    spread = view.spread(point, key)
    if spread is None:
        return ""
    if spread.seeds:
        return f"± {number((spread.high - spread.low) / 2, digits)}"
    return f"{number(spread.low, digits)} to {number(spread.high, digits)}"


def _verdict(view: View, point: Point) -> dict[str, str]:
    """Return how a method's likeness stands against the baseline's: as recommended, and at the same style."""
    if point.method == view.table.about.settings.get("baseline"):
        return {"text": "the baseline", "kind": "", "note": ""}
    found = {
        one["at"]: one for one in view.table.about.findings.get("differences", [])
        if (one["dataset"], one["method"], one["against"], one["measure"])
        == (point.dataset, point.method, view.table.about.settings.get("baseline"), SIMILARITY)
    }  # fmt: skip
    equal = found.get("comparable style")
    note = f"at the same style: {_judged(equal)[0]}" if equal else ""
    if "recommended" not in found:
        return {"text": "not tested", "kind": "", "note": note}
    text, kind = _judged(found["recommended"])
    return {"text": text, "kind": kind, "note": note}


def _judged(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return a difference of likeness in words, and ``better``, ``worse`` or nothing."""
    kind = ("better" if one["difference"] > 0 else "worse") if one["significant"] else ""
    word = {"better": "significantly closer", "worse": "significantly further", "": "not significant"}[kind]
    return f"{signed(one['difference'], 2)}, {word}", kind


def differences(view: View, dataset: str) -> list[dict[str, Any]]:
    """Return every tested difference of a dataset, with words, interval and p after Holm."""
    found = []
    for one in view.table.about.findings.get("differences", []):
        if one["dataset"] == dataset:
            digits = column(one["measure"]).digits
            low, high = (signed(one[end], digits) for end in ("low", "high"))
            found.append({
                "index": list(view.table.about.methods).index(one["method"]), "method": readable(one["method"]),
                "against": readable(one["against"]), "at": one["at"], "measure": heading(one["measure"]),
                "difference": signed(one["difference"], digits), "interval": f"{low} to {high}",
                "p": chance(one["p_holm"]), "significant": bool(one["significant"]), "words": one["words"],
                "unit": f"{one['n']:,} {one['unit']}", "headline": one["measure"] in (SIMILARITY, view.style),
            })  # fmt: skip
    return found


def honesty(view: View) -> dict[str, Any]:
    """Return what a reader must know before believing a number."""
    about, common = view.table.about, view.table.about.facts.get("", {})
    networks = {entry.get("name"): entry for entry in common.get("instruments", [])}  # one may have several roles
    instruments = [_instrument(entry) for entry in networks.values()]
    return {
        "instruments": instruments, "stand_in": not view.extractor().startswith("inception"),
        "extractor": view.extractor(), "style": column(view.style).label,
        "counts": [_counts(view, dataset) for dataset in view.datasets],
        "generated": f"{common['n_gen']:,}" if "n_gen" in common else "", "seeds": list(about.seeds),
        "pairs": f"{common['n_pairs']:,}" if "n_pairs" in common else "", "not_run": _not_run(about.not_run),
        "missing": about.missing, "tripped": _tripped(view), "trained_on": _trained_on(view), "ended": _ended(view),
        "measures": [column(measure).label for measure in about.measures], "facts": _facts(view),
        "limit": f"{about.settings['max_style_ratio']:g} {TIMES}" if "max_style_ratio" in about.settings else "",
    }  # fmt: skip


def _instrument(entry: Mapping[str, Any]) -> dict[str, Any]:
    name = str(entry.get("name", ""))
    role = {"style": "style", "likeness": "likeness", "diversity": "diversity"}.get(str(entry.get("role")), "")
    return {
        "name": name, "sha256": str(entry.get("sha256", "")), "role": role or str(entry.get("role", "")),
        "preprocess": str(entry.get("preprocess", "")), "stand_in": name.startswith(SHIPPED),
    }  # fmt: skip


def _counts(view: View, dataset: str) -> dict[str, str]:
    facts, real = view.table.about.facts.get(dataset, {}), view.anchor(dataset, "real_split")
    floors = [
        f"{column(k).label} {number(real[k], column(k).digits)}"
        for k in (view.style, view.table.about.fid)
        if k in real
    ]
    return {
        "name": readable(dataset), "real": f"{facts['n_real']:,}" if "n_real" in facts else "an unknown number of",
        "heldout": f"{facts['n_heldout']:,}" if "n_heldout" in facts else "none", "floor": ", ".join(floors),
    }  # fmt: skip


def _not_run(entries: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return metrics, by name, and the reason; those of one reason together, and one metric's many reasons as one."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        reasons.setdefault(entry["metric"], []).append(entry["reason"])
    metrics: dict[str, list[str]] = {}
    for metric, found in reasons.items():
        more = f"; so, or nearly, in {len(found)} places" if len(found) > 1 else ""
        metrics.setdefault(found[0] + more, []).append(metric)
    return [(", ".join(names), reason) for reason, names in metrics.items()]


def _tripped(view: View) -> list[str]:
    """Return, in words, every point that raised an alarm."""
    found = []
    for point in (p for dataset in view.datasets for p in view.of(dataset)):
        bad = [f"{GATES.get(n, readable(n))} {s}" for n, s in sorted(point.gates.items()) if s != "pass"]
        if bad:
            end = "" if point.ranked else " (not ranked)"
            found.append(
                f"{readable(point.method)} on {readable(point.dataset)}, {view.words(point)}: {', '.join(bad)}{end}"
            )
    return found


def _trained_on(view: View) -> list[str]:
    measured = {key for cell in view.table.cells for key in cell.values}
    known = view.table.about.findings.get("trained_on", {}).items()
    entries = {method: [key for key in keys if key in measured] for method, keys in known}
    return [f"{readable(m)} trains on {', '.join(column(k).label for k in ks)}" for m, ks in entries.items() if ks]


def _ended(view: View) -> list[str]:
    return [
        f"{readable(one['method'])} on {readable(one['dataset'])}, seed {one['seed']}: after {one['stopped']:g} kimg"
        for one in view.table.about.trainings
        if one.get("stopped") is not None
    ]


def _facts(view: View) -> list[tuple[str, list[str]]]:
    """Return everything that holds of the comparison: term, lines."""
    about, found = view.table.about, []
    for place, facts in sorted(about.facts.items()):
        for name, value in facts.items():
            if name != "instruments" and (lines := _flat(value)):
                found.append((f"{readable(name)}{f' ({readable(place)})' if place else ''}", lines))
    settings = [
        line for name, value in about.settings.items() if name != "kinds" for line in _flat(value, readable(name))
    ]
    found.append(("comparison", settings))
    found += [(f"swap {readable(kind)}", _flat(value)) for kind, value in view.kinds.items()]
    return found


def _flat(value: object, name: str = "") -> list[str]:
    """Flatten a plain value into lines of text."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _flat(item, f"{name} {readable(str(key))}".strip())]
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return [f"{name}: {text}" if name else text] if text else []
