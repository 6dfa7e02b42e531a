"""The comparison in a few lines: per style and method what it costs and what it keeps. The README shows these lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.metrics.names import parse
from stages.comparing.likeness import SIMILARITY
from stages.comparing.markdown import escape, gates, line
from stages.comparing.points import Point
from stages.comparing.statistics import NO_SWAP, find
from stages.comparing.view import View
from stages.comparing.words import NONE, TIMES, chance, number, signed, swap_words


def brief(views: Sequence[View], found: Mapping[str, Any]) -> list[str]:
    """Return the answer in sentences, then the lines of a Markdown table with means over seeds.

    The last two columns are differences in similarity from the baseline: without a swap, and at comparable KID for the
    level that gains most among those that still look drawn. Where several snapshots were swept, one more column says
    which one is recommended; "no swap" is the main one.

    Args:
        views: one per dataset.
        found: the findings.
    """
    lines: list[str] = []
    for dataset, sentences in found["summary"].items():
        lines += [f"**{escape(dataset)}.** {' '.join(escape(sentence) for sentence in sentences)}", ""]
    swept = any(point.snapshot for view in views for point in view.points)
    name = parse(views[0].scale.key)
    heads = [
        "style", "method", "gates", f"KID{name.n} {TIMES}10³, no swap", "of the source's", f"FID{name.n}", "similarity",
        "recommended", *(["snapshot"] if swept else []), "KID there", "similarity there",
        "similarity against the baseline", "at comparable KID",
    ]  # fmt: skip
    lines += [line(heads), line(["---"] * 3 + ["--:"] * 4 + ["---"] * (1 + swept) + ["--:"] * 2 + ["---"] * 2)]
    for view in views:
        lines += [_row(view, method, found, swept) for method in view.methods]
    return lines


def _row(view: View, method: str, found: Mapping[str, Any], swept: bool) -> str:
    start, chosen, key = view.start(method), view.chosen[method], view.scale.key
    share = start.mean[key] / view.scale.source if start is not None else None
    before = [_at(start, key, 1), number(share, 2), _at(start, view.fid, 1), _at(start, SIMILARITY, 2)]
    where = NONE if chosen is None else swap_words(chosen.swap, chosen.level)
    which = [escape(chosen.snapshot) if chosen is not None else NONE] if swept else []
    after = [_at(chosen, key, 1), _at(chosen, SIMILARITY, 2)]
    difference = find(found["differences"], view.dataset, method, SIMILARITY, NO_SWAP)
    claim = found["claims"][view.dataset].get(method)
    verdicts = gates(start.gates) if start is not None else NONE
    return line([
        escape(view.dataset), escape(method), verdicts, *before, escape(where), *which, *after, _difference(difference),
        _claim(claim),
    ])  # fmt: skip


def _at(point: Point | None, key: str, digits: int) -> str:
    """Return a number of a point with its spread over seeds."""
    if point is None or key not in point.mean:
        return NONE
    spread = f" ± {number(point.sd[key], digits)}" if key in point.sd else ""
    return number(point.mean[key], digits) + spread


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NONE
    ends = f"{number(found['low'], 2)} to {number(found['high'], 2)}"
    verdict = "" if found["significant"] else ", not significant"
    return f"{signed(found['difference'], 2)} ({ends}), {chance(found['p_holm'])}{verdict}"


def _claim(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return NONE
    where = escape(swap_words(claim["swap"], claim["level"]))
    won = f"{claim['seeds_won']} of {claim['seeds']} seeds"
    return f"{signed(claim['gain'], 2)} ({where}, KID {number(claim['kid'], 1)}; {won})"
