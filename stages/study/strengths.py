"""Strengths of methods from choices between two: Bradley-Terry, sign tests over raters, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from stages.study.exports import Answer

Floats = NDArray[np.float64]
PRIOR = 0.5  # wins that every method is given over, and against, every other: nothing is infinite, all is connected
_ROUNDS, _CLOSE = 500, 1e-9


@dataclass(frozen=True)
class Strength:
    """One method; strengths are log odds with mean 0 over the methods."""

    method: str
    strength: float
    low: float
    high: float
    against_baseline: float  # chance of being chosen over the baseline
    against_low: float
    against_high: float
    won: int
    asked: int


@dataclass(frozen=True)
class Duel:
    """Two methods; raters, not choices, are what a sign test may count."""

    a: str
    b: str
    won: int  # choices of a
    asked: int
    raters_for_a: int
    raters_for_b: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Agreement:
    """How often two raters who saw the same question chose the same picture."""

    pairs: int  # of answers
    share: float | None
    alpha: float | None  # Krippendorff's, nominal: 0 is chance, 1 is perfect


def wins_of(answers: Sequence[Answer], methods: Sequence[str]) -> Floats:
    """Count choices ``[M, M]``: row chosen over column."""
    place = {method: index for index, method in enumerate(methods)}
    wins = np.zeros((len(methods), len(methods)))
    for answer in answers:
        won, lost = (answer.item.a, answer.item.b) if answer.chosen == "a" else (answer.item.b, answer.item.a)
        wins[place[won], place[lost]] += 1
    return wins


def bradley_terry(wins: Floats) -> Floats:
    """Fit log strengths by maximum likelihood, with PRIOR wins added each way between all pairs.

    Args:
        wins: ``[..., M, M]``, row chosen over column.

    Returns: ``[..., M]`` with mean 0.
    Source: Hunter 2004, "MM algorithms for generalized Bradley-Terry models", equation 3; the prior is the penalty of
        Caron and Doucet 2012 in the form of pseudo-choices.
    """
    count = wins.shape[-1]
    padded = wins + PRIOR * (1 - np.eye(count))
    games = padded + np.swapaxes(padded, -1, -2)
    total = padded.sum(axis=-1)
    strength = np.ones(total.shape)
    for _ in range(_ROUNDS):
        new = total / (games / (strength[..., :, None] + strength[..., None, :])).sum(axis=-1)
        new /= np.exp(np.log(new).mean(axis=-1, keepdims=True))
        step = float(np.abs(np.log(new) - np.log(strength)).max())
        strength = new
        if step < _CLOSE:
            break
    found: Floats = np.log(strength)
    return found


def strengths(
    per_rater: Sequence[Sequence[Answer]], methods: Sequence[str], baseline: str, resamples: int, confidence: float
) -> list[Strength]:
    """Fit everybody's choices; intervals by resampling raters, for the choices of one person belong together."""
    counts = np.stack([wins_of(answers, methods) for answers in per_rater])
    wins = counts.sum(axis=0)
    chance = np.random.Generator(np.random.Philox(key=len(per_rater)))
    drawn = chance.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples).astype(np.float64)
    fits = bradley_terry(np.einsum("br,rij->bij", drawn, counts))
    point, base = bradley_terry(wins), methods.index(baseline)
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(fits, ends, axis=0)
    odds = 1 / (1 + np.exp(point[base] - point))
    odds_low, odds_high = np.quantile(1 / (1 + np.exp(fits[:, [base]] - fits)), ends, axis=0)
    return [
        Strength(
            method, float(point[i]), float(low[i]), float(high[i]), float(odds[i]), float(odds_low[i]),
            float(odds_high[i]), int(wins[i].sum()), int(wins[i].sum() + wins[:, i].sum()),
        )
        for i, method in enumerate(methods)
    ]  # fmt: skip


def duels(per_rater: Sequence[Sequence[Answer]], methods: Sequence[str]) -> list[Duel]:
    """Test every pair of methods: does more than half of the raters choose one mostly? Holm over the pairs."""
    from scipy.stats import binomtest

    counts = np.stack([wins_of(answers, methods) for answers in per_rater])
    rows = []
    for i, j in combinations(range(len(methods)), 2):
        for_a = int((counts[:, i, j] > counts[:, j, i]).sum())
        for_b = int((counts[:, i, j] < counts[:, j, i]).sum())
        p = float(binomtest(for_a, for_a + for_b).pvalue) if for_a + for_b else 1.0
        won, lost = int(counts[:, i, j].sum()), int(counts[:, j, i].sum())
        rows.append((methods[i], methods[j], won, won + lost, for_a, for_b, p))
    return [Duel(*row, p_holm) for row, p_holm in zip(rows, holm([row[-1] for row in rows]), strict=True)]


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979)."""
    out = [1.0] * len(values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        out[index] = worst
    return out


def agreement(per_rater: Sequence[Sequence[Answer]]) -> Agreement:
    """Compare raters on the questions that two or more of them answered."""
    chosen: dict[str, list[str]] = {}
    for own in per_rater:
        for answer in own:
            chosen.setdefault(answer.item.name, []).append(answer.chosen)
    shared = [votes for votes in chosen.values() if len(votes) > 1]
    pairs = sum(len(votes) * (len(votes) - 1) // 2 for votes in shared)
    if not pairs:
        return Agreement(0, None, None)
    same = sum(sum(votes.count(side) * (votes.count(side) - 1) // 2 for side in "ab") for votes in shared)
    total = sum(map(len, shared))
    first = sum(votes.count("a") for votes in shared)
    observed = sum(votes.count("a") * votes.count("b") * 2 / (len(votes) - 1) for votes in shared) / total
    expected = 2 * first * (total - first) / (total * (total - 1))
    return Agreement(pairs, same / pairs, 1 - observed / expected if expected else None)
