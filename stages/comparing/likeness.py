"""How close to its source face a drawing is: the ``similarity`` that methods are compared by.

``similarity`` is the mean of the lifts of the paired measures that ``compare.similarity`` names. A lift is 0 where a
drawing is no closer to its source face than to another person's, and 1 where it is that face. ``similarity_own`` is the
same with every model's own mapping network. A measure that some method optimises ranks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from model.errors import CorruptInputError, UsageError
from model.metrics.names import parse
from stages.comparing.table import Cell, Floats

SIMILARITY, SIMILARITY_OWN = "similarity", "similarity_own"
HIGHER = ("cos", "arcface_cos", "edge_ssim", "retrieval_top1", "face_detect_rate")  # families whose best value is 1


def _lowres(settings: Mapping[str, Any]) -> list[str]:
    return [f"lowres_rgb_mse_{size}" for size in settings["resolutions"]]


OPTIMISES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {"structure_loss": _lowres}  # by technique


def trained_on(techniques: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Return method -> measures that its techniques optimise; methods that optimise none are left out.

    Args:
        techniques: method -> technique -> settings.
    """
    found = {
        method: [
            name for technique, own in used.items() if technique in OPTIMISES for name in OPTIMISES[technique](own)
        ]
        for method, used in techniques.items()
    }
    return {method: names for method, names in found.items() if names}


def measures(wanted: Sequence[str], cells: Sequence[Cell], not_run: Sequence[Mapping[str, str]]) -> list[str]:
    """Find the measure that each entry of ``compare.similarity`` means: its full name, or its family.

    Raises: UsageError if no instrument, or more than one, measured a family.
    """
    known = dict.fromkeys(measure for cell in cells for measure in cell.pairs)
    found = []
    for entry in wanted:
        fitting = [m for m in known if m == entry] or [m for m in known if parse(m).family == entry]
        if len(fitting) != 1:
            reasons = [f"{one['metric']} was not run: {one['reason']}" for one in not_run if _is(one["metric"], entry)]
            there = sorted(m for m in known if not parse(m).family.endswith("_own"))
            raise UsageError(
                f"compare.similarity: {entry!r} means {fitting or 'nothing'} among the paired measures "
                f"{', '.join(there) or '(none)'}; expected exactly one: name it in full, choose another, or add its "
                f"instrument to evaluate.likeness{''.join(f' ({reason})' for reason in reasons)}"
            )
        found += fitting
    return found


def _is(metric: str, entry: str) -> bool:
    return entry in (metric, parse(metric).family)


def refuse_trained(chosen: Sequence[str], optimised: Mapping[str, Sequence[str]]) -> None:
    """Refuse to rank anybody by what a method is trained on: a table without that method would be no comparison."""
    for method, names in optimised.items():
        if found := [measure for measure in chosen if parse(measure).family in names]:
            raise UsageError(
                f"compare.similarity: {', '.join(found)} is what {method} is trained on, so it cannot say which method "
                "keeps the face better; choose measures that no method optimises"
            )


def with_similarity(cells: Sequence[Cell], chosen: Sequence[str]) -> tuple[Cell, ...]:
    """Give every cell its similarity, and a similarity per pair, whose mean it is.

    A cell without one of the lifts has none. Numbers per pair of the models' own mapping are kept as ``similarity_own``
    alone: they would double the table.
    """
    return tuple(_with_similarity(cell, chosen) for cell in cells)


def _with_similarity(cell: Cell, chosen: Sequence[str]) -> Cell:
    values, pairs = dict(cell.values), dict(cell.pairs)
    for name, own in ((SIMILARITY, ""), (SIMILARITY_OWN, "_own")):
        lifts = {variant(measure, own): cell.values.get(variant(measure, f"{own}_lift")) for measure in chosen}
        known = {measure: lift for measure, lift in lifts.items() if lift is not None}
        if len(known) < len(chosen):
            continue
        values[name] = fmean(known.values())
        if all(measure in cell.pairs for measure in known):
            pairs[name] = np.mean([lift_per_pair(cell, measure, lift) for measure, lift in known.items()], axis=0)
    kept = {name: row for name, row in pairs.items() if name == SIMILARITY_OWN or not _is_own(name)}
    return replace(cell, values=values, pairs=kept)


def _is_own(measure: str) -> bool:
    return parse(measure).family.endswith("_own")


def variant(measure: str, suffix: str) -> str:
    """Return the name of a measure's variant: ``cos[net]`` and ``_own`` give ``cos_own[net]``."""
    stem, bracket, extractor = measure.partition("[")
    return f"{stem}{suffix}{bracket}{extractor}"


def lift_per_pair(cell: Cell, measure: str, lift: float) -> Floats:
    """Return a lift for every pair: the affine map that takes a perfect pair to 1 and the cell's mean to its lift.

    Raises: CorruptInputError if the mean is perfect and the lift is not 1.
    """
    values, perfect = cell.pairs[measure], _perfect(measure)
    mean = float(np.nanmean(values))
    if mean == perfect:
        if lift != 1.0:
            raise CorruptInputError(
                f"{cell.method} on {cell.dataset}, seed {cell.seed}: {measure} is perfect but lifts by {lift:g}; "
                "evaluate again"
            )
        return np.ones_like(values)
    lifted: Floats = 1.0 - (perfect - values) / (perfect - mean) * (1.0 - lift)
    return lifted


def _perfect(measure: str) -> float:
    return 1.0 if parse(measure).family.removesuffix("_own") in HIGHER else 0.0
