"""Differences between methods and the baseline, and whether they are more than chance.

Three trainings or more of each: the unit is the training, so that its luck counts. Fewer: similarity is compared face
by face (the same z), KID and FID by disjoint blocks of generated images (bootstrapping them would bias them), and the
luck of training is not included. Holm's correction is over the methods of a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from model.metrics.significance import Difference, block_difference, holm, paired_difference, seed_difference
from stages.comparing.claim import at_comparable_style, frontiers
from stages.comparing.likeness import SIMILARITY, SIMILARITY_OWN
from stages.comparing.points import Place, mean_points
from stages.comparing.sentences import Said, sentence
from stages.comparing.table import Cell, Floats
from stages.comparing.view import View, mean_over_seeds, purpose

SEEDS = 3  # trainings of each method from which on the training is the unit
LEAST = 3  # faces or blocks that say anything about chance
NO_SWAP, RECOMMENDED, COMPARABLE = "no swap", "recommended", "comparable style"
Share = dict[Place, float]  # of a method's points in what it offers


@dataclass(frozen=True)
class Contest:
    """A method and another one, each at a place of its own."""

    view: View
    method: str
    against: str  # the baseline, as a rule
    at: str
    mine: Place
    theirs: Share  # one place, or two neighbours on the other's curve


class Found(NamedTuple):
    """A difference, before it is corrected for how many were looked at."""

    contest: Contest
    measure: str
    result: Difference
    seeds: int  # trainings of each side


def differences(view: View) -> list[dict[str, Any]]:
    """Compare every method with the baseline: without a swap, as recommended, and at comparable style.

    Returns: plain values, see ``findings``; significant is what both the interval and the corrected p-value say.
    """
    found = [difference for contest in _contests(view) for difference in _differences(contest)]
    found.sort(key=lambda one: (one.contest.at, one.measure))
    families = [list(group) for _, group in groupby(found, key=lambda one: (one.contest.at, one.measure))]
    result = [row for family in families for row in _corrected(family)]
    order = {name: index for index, name in enumerate((NO_SWAP, RECOMMENDED, COMPARABLE))}
    measures = {name: index for index, name in enumerate((SIMILARITY, view.scale.key, view.fid, SIMILARITY_OWN))}
    result.sort(key=lambda one: (view.methods.index(one["method"]), order[one["at"]], measures[one["measure"]]))
    return result


def ahead(view: View, method: str, others: Sequence[str]) -> list[dict[str, Any]]:
    """Compare the similarity of a method with that of others, all without a swap; corrected for all of them."""
    family, mine = [], view.start(method)
    for other in others:
        theirs = view.start(other)
        if mine is not None and theirs is not None:
            contest = Contest(view, method, other, NO_SWAP, mine.place, {theirs.place: 1.0})
            found = _over_seeds(contest, SIMILARITY) or _over_images(contest, SIMILARITY)
            family += [] if found is None else [found]
    return _corrected(family)


def _corrected(family: Sequence[Found]) -> list[dict[str, Any]]:
    corrected = holm([one.result.p for one in family])
    return [_plain(one, float(p), len(family)) for one, p in zip(family, corrected, strict=True)]


def _contests(view: View) -> Iterator[Contest]:
    baseline = view.rules.baseline
    for method in view.rivals:
        for at, pair in (
            (NO_SWAP, (view.start(method), view.start(baseline))),
            (RECOMMENDED, (view.chosen[method], view.chosen[baseline])),
        ):
            mine, theirs = pair
            if mine is not None and theirs is not None and mine.ranked and theirs.ranked:
                yield Contest(view, method, baseline, at, mine.place, {theirs.place: 1.0})
        own, curves = view.chosen[method], frontiers(view.of(baseline), view.scale.key)
        if own is not None and curves:
            _, shares = at_comparable_style(curves, view.scale.style(own), view.scale)
            yield Contest(view, method, baseline, COMPARABLE, own.place, shares)


def _differences(contest: Contest) -> Iterator[Found]:
    view = contest.view
    measures = (SIMILARITY,) if contest.at == COMPARABLE else (SIMILARITY, view.scale.key, view.fid, SIMILARITY_OWN)
    for measure in measures:
        found = _over_seeds(contest, measure) or _over_images(contest, measure)
        if found is not None:
            yield found


def _over_seeds(contest: Contest, measure: str) -> Found | None:
    """Compare training by training; None with fewer than three of either side."""
    view = contest.view
    mine = _by_seed(view.seeds(contest.method, contest.mine), measure)
    if contest.at == COMPARABLE:
        theirs = _offered(contest, {s: c for s, c in view.seeds(contest.method, contest.mine).items() if s in mine})
    else:
        (where,) = contest.theirs
        theirs = _by_seed(view.seeds(contest.against, where), measure)
    both = [seed for seed in mine if seed in theirs]
    if len(both) < SEEDS:
        return None
    first, second = (np.array([side[seed] for seed in both]) for side in (mine, theirs))
    result = seed_difference(first, second, view.rules.confidence)
    return Found(contest, measure, result, len(both))


def _by_seed(cells: dict[str, Cell], measure: str) -> dict[str, float]:
    return {seed: cell.values[measure] for seed, cell in cells.items() if measure in cell.values}


def _offered(contest: Contest, mine: dict[str, Cell]) -> dict[str, float]:
    """Return what the other method of each seed offers at the KID that the method has with that seed."""
    found, view = {}, contest.view
    for seed, cell in mine.items():
        points = mean_points(c for c in view.cells if c.seed == seed and c.method == contest.against)
        if curves := frontiers(points, view.scale.key):
            found[seed], _ = at_comparable_style(curves, cell.values[view.scale.key], view.scale)
    return found


def _over_images(contest: Contest, measure: str) -> Found | None:
    """Compare face by face, or block by block, means over the trainings that both have."""
    view = contest.view
    paired = measure in (SIMILARITY, SIMILARITY_OWN)
    mine = _numbers(view.seeds(contest.method, contest.mine), measure, paired)
    theirs = [_numbers(view.seeds(contest.against, where), measure, paired) for where in contest.theirs]
    both = [seed for seed in mine if all(seed in side for side in theirs)]
    if not both:
        return None
    first = mean_over_seeds([mine[seed] for seed in both])
    weights = list(contest.theirs.values())
    second = sum(
        (share * mean_over_seeds([side[seed] for seed in both]) for share, side in zip(weights, theirs, strict=True)),
        start=np.zeros_like(first),
    )
    kept = np.isfinite(first) & np.isfinite(second)
    return _tested(contest, measure, (first[kept], second[kept]), len(both))


def _numbers(cells: dict[str, Cell], measure: str, paired: bool) -> dict[str, Floats]:
    """Return seed -> one number per pair or per block."""
    rows = {seed: cell.pairs if paired else cell.blocks for seed, cell in cells.items()}
    return {seed: row[measure] for seed, row in rows.items() if measure in row}


def _tested(contest: Contest, measure: str, sides: tuple[Floats, Floats], seeds: int) -> Found | None:
    rules, count = contest.view.rules, len(sides[0])
    if count < LEAST:
        return None
    if measure in (SIMILARITY, SIMILARITY_OWN):
        result = paired_difference(*sides, purpose("faces", contest.view.dataset), rules.resamples, rules.confidence)
    else:
        result = block_difference(*sides, rules.confidence)
    return Found(contest, measure, result, seeds)


def _plain(one: Found, p_holm: float, family: int) -> dict[str, Any]:
    contest, result = one.contest, one.result
    significant = result.excludes_zero and p_holm < 1 - contest.view.rules.confidence
    said = Said(
        contest.method, contest.against, contest.at, _kind(contest.view, one.measure), result, p_holm, significant,
        one.seeds, family,
    )  # fmt: skip
    return {
        "dataset": contest.view.dataset, "method": contest.method, "against": contest.against, "measure": one.measure,
        "at": contest.at, "difference": result.value, "low": result.low, "high": result.high, "p": result.p,
        "p_holm": p_holm, "significant": significant, "unit": result.unit, "n": result.n, "words": sentence(said),
    }  # fmt: skip


def _kind(view: View, measure: str) -> str:
    known = {view.scale.key: "KID", view.fid: "FID", SIMILARITY: "similarity", SIMILARITY_OWN: "own similarity"}
    return known[measure]


def find(rows: Sequence[dict[str, Any]], dataset: str, method: str, measure: str, at: str) -> dict[str, Any] | None:
    """Return one difference."""
    wanted = (dataset, method, measure, at)
    return next(
        (row for row in rows if tuple(row[name] for name in ("dataset", "method", "measure", "at")) == wanted), None
    )
