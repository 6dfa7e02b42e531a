"""What the numbers say, in words: headline, the claim against the baseline, and what to know before believing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.report.cells import SIMILARITY, Comparison, Point, unswapped
from stages.report.claim import Gain, best_gain, fid_limit, gains
from stages.report.curves import Training
from stages.report.look import TIMES, readable, signed


@dataclass(frozen=True)
class Report:
    """What the page is made from."""

    comparison: Comparison
    chosen: tuple[Point, ...]  # the recommended swap level of every method on every dataset
    trainings: tuple[Training, ...]
    baseline: str
    max_fid_ratio: float
    sheet_faces: int
    hero_faces: int
    command: str  # what made it
    digests: dict[str, str]  # of what it was made from


def cards(report: Report, dataset: str) -> list[dict[str, str]]:
    """Return the headline numbers of a dataset: how well the methods draw, and what each keeps of the face."""
    return [*_fit(report, dataset), *(_keeps(report, claim) for claim in claims(report, dataset))]


def _fit(report: Report, dataset: str) -> list[dict[str, str]]:
    fid = report.comparison.fid
    found = (unswapped(report.comparison.of(dataset, method)) for method in report.comparison.methods(dataset))
    plain = [point for point in found if point is not None]
    source = report.comparison.anchor(dataset, "source").get(fid)
    if not plain or not source:
        return []
    ratios = [p.mean[fid] / source for p in plain]
    within = sum(ratio <= report.max_fid_ratio for ratio in ratios)
    best = min(plain, key=lambda p: p.mean[fid])
    card = {
        "value": f"{source:.0f} → {best.mean[fid]:.0f}",
        "label": f"FID to {readable(dataset)}: untuned source → {readable(best.method)}",
        "note": f"{within} of {len(plain)} methods reach {report.max_fid_ratio:g} {TIMES} the source's FID without a "
        f"swap (worst: {max(ratios):.2f} {TIMES})",
    }
    return [card]


def _keeps(report: Report, claim: Mapping[str, Any]) -> dict[str, str]:
    method, dataset, baseline = (readable(name) for name in (claim["method"], claim["dataset"], report.baseline))
    seeds = "1 seed" if claim["seeds"] == 1 else f"{claim['seeds']} seeds"
    return {
        "value": claim["gain"],
        "label": f"similarity of {method} on {dataset}, against the {baseline} at comparable FID",
        "note": f"{claim['similarity']} against {claim['baseline']} at FID {claim['fid']}; {claim['swap']}; "
        f"closer in {claim['won']} of {seeds}",
    }


def claims(report: Report, dataset: str) -> list[dict[str, Any]]:
    """Return, for every method but the baseline, its best swap level against the baseline, and all its levels."""
    comparison = report.comparison
    limit = fid_limit(comparison, dataset, report.max_fid_ratio)
    claims = []
    for method in comparison.methods(dataset):
        found = [] if method == report.baseline else gains(comparison, dataset, method, report.baseline)
        best = best_gain(found, comparison.fid, limit)
        if best is not None:
            levels = [
                {**_gain(gain, comparison.fid), "drawn": gain.point.mean[comparison.fid] <= limit} for gain in found
            ]
            claims.append({"dataset": dataset, "method": method, **_gain(best, comparison.fid), "levels": levels})
    return claims


def _gain(gain: Gain, fid: str) -> dict[str, Any]:
    seeds = " ".join(signed(value) for value in gain.per_seed.values())
    return {
        "swap": str(gain.point.swap),
        "fid": f"{gain.point.mean[fid]:.1f}",
        "similarity": f"{gain.point.mean[SIMILARITY]:.3f}",
        "baseline": f"{gain.baseline[SIMILARITY]:.3f}",
        "gain": signed(gain.gain[SIMILARITY]),
        "landmarks": signed(gain.gain["landmark_similarity"]),
        "attributes": signed(gain.gain["attribute_similarity"]),
        "positive": gain.gain[SIMILARITY] > 0,
        "per_seed": seeds,
        "won": gain.seeds_won,
        "seeds": len(gain.per_seed),
    }


def ended_early(report: Report) -> list[str]:
    """Return, in words, the trainings that were ended because they memorised."""
    return [
        f"{readable(one.method)} on {readable(one.dataset)}, seed {one.seed}: after {one.stopped:g} kimg"
        for one in report.trainings
        if one.stopped is not None
    ]


FACTS = {
    "snapshots": "Snapshots measured (kimg)",
    "n_real": "Drawn images trained on and compared with",
    "n_heldout": "Drawn images held out",
    "n_gen": "Images generated per cell",
    "n_pairs": "Of them compared with the source's, one by one",
    "z_sha256": "Latents, the same for every cell (sha256)",
    "extractor": "Extractors",
    "made_with": "Measured with",
}


def honesty(report: Report) -> list[tuple[str, list[str]]]:
    """Return what a reader must know before believing a number: term, lines."""
    facts: dict[str, list[str]] = {}
    for evaluation in report.comparison.evaluations:
        for term in FACTS:
            where = f"{readable(evaluation.dataset)}: " if term in ("n_real", "n_heldout") else ""
            lines = _lines(evaluation.facts[term]) if term in evaluation.facts else []
            known = facts.setdefault(term, [])
            known += [where + text for text in lines if where + text not in known]
    return [(label, facts[term]) for term, label in FACTS.items() if facts[term]]


def _lines(value: Any, name: str = "") -> list[str]:
    """Flatten a plain value into lines of text."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _lines(item, f"{name} {readable(str(key))}".strip())]
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return [f"{name}: {text}" if name else text]
