"""The comparison in a few lines: per style and method what it costs and what it keeps. The README shows these lines."""

from __future__ import annotations

from stages.report.cells import SIMILARITY, Comparison, Point, unswapped
from stages.report.claim import Gain, best_gain, fid_limit, gains, recommended
from stages.report.look import NONE
from stages.report.table import cell, line, number

HEADS = (
    "style", "method", "FID, no swap", "of the source's", "similarity", "recommended", "FID there", "similarity there",
    "against the baseline at comparable FID",
)  # fmt: skip


def brief(comparison: Comparison, baseline: str, max_fid_ratio: float) -> list[str]:
    """Return the lines of a Markdown table: means over seeds, with standard deviations where there are several.

    The last column is the largest gain in similarity over the baseline at comparable FID among the levels that still
    look drawn (:func:`stages.report.claim.best_gain`), and in how many seeds it is a gain. Where several snapshots were
    swept, one more column says which one is recommended; "no swap" is the main one.
    """
    swept = bool(comparison.snapshots)
    heads = [*HEADS[:6], *(["snapshot"] if swept else []), *HEADS[6:]]
    lines = [line(heads), line(["---", "---"] + ["--:"] * 3 + ["---"] * (1 + swept) + ["--:"] * 2 + ["---"])]
    for dataset in comparison.grid.datasets:
        limit = fid_limit(comparison, dataset, max_fid_ratio)
        source = comparison.anchor(dataset, "source").get(comparison.fid, float("inf"))
        for method in comparison.methods(dataset):
            points = comparison.of(dataset, method)
            start = unswapped(points)
            chosen = recommended(points, comparison.fid, source, limit)
            found = [] if method == baseline else gains(comparison, dataset, method, baseline)
            share = start.mean[comparison.fid] / source if start is not None else None
            before, after = ([_at(point, comparison.fid, 1), _at(point, SIMILARITY, 2)] for point in (start, chosen))
            gain = _gain(best_gain(found, comparison.fid, limit), comparison.fid)
            name = [cell(dataset), cell(method)]
            where = [chosen.swap.blocks, *([chosen.snapshot] if swept else [])]
            lines.append(line([*name, before[0], number(share, 2), before[1], *where, *after, gain]))
    return lines


def _at(point: Point | None, key: str, digits: int) -> str:
    """Return a number of a point with its spread over seeds."""
    if point is None or key not in point.mean:
        return NONE
    spread = f" ± {number(point.sd[key], digits)}" if key in point.sd else ""
    return number(point.mean[key], digits) + spread


def _gain(gain: Gain | None, fid: str) -> str:
    if gain is None:
        return NONE
    value = number(gain.gain[SIMILARITY], 3)
    sign = "" if gain.gain[SIMILARITY] < 0 else "+"
    where = f"{gain.point.swap}, FID {number(gain.point.mean[fid], 1)}"
    return f"{sign}{value} ({where}; {gain.seeds_won} of {len(gain.per_seed)} seeds)"
