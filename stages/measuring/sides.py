"""What every cell is compared with: real images (style), the source's pictures (likeness), its own (variety)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import MissingInputError
from model.metrics.diversity import Diversity, chosen_rows, feature_ruler, picture_ruler
from model.metrics.extractors.base import FeatureExtractor
from model.metrics.extractors.cached import cached
from model.metrics.extractors.catalogue import kind_of
from model.metrics.gates import gate, memorisation, worst_of
from model.metrics.names import key
from model.metrics.pairs import Seen, SourceSide, own_names
from model.metrics.target import TargetSide
from stages.measuring.drawn import Drawn
from stages.measuring.instruments import Opened, Reasons, left_out
from stages.measuring.reals import Reals, read_features, read_images
from stages.measuring.settings import EvaluateParams
from stages.measuring.values import Kind

BLOCKS = 5  # disjoint parts of the z: how much distribution metrics are left to chance
VARIED = 1000  # generated images whose variety is measured, at most
CACHE_BYTES = 256 << 20  # of features: more than one batch of pictures by every cell
Scores = dict[str, float]
Rows = list[tuple[str, Kind, NDArray[np.float64]]]  # measure, kind, values


@dataclass(frozen=True)
class StyleSide:
    """Features of real images, and what takes those of generated ones."""

    targets: dict[str, TargetSide]  # by the extractor's own name, in the order of evaluate.style; the first one ranks
    extractors: dict[str, FeatureExtractor]  # by the extractor's own name; one may be for variety alone
    diversity: Diversity | None
    varied_by: str  # own name of the extractor whose features show variety; empty for pictures
    not_run: Reasons

    @property
    def ranks(self) -> TargetSide:
        """The one whose KID ranks."""
        return next(iter(self.targets.values()))

    def fit(self, drawn: Drawn) -> tuple[Scores, Rows]:
        """Compare all images of a cell with the real ones: numbers, and numbers per block of z."""
        scores: Scores = {}
        rows: Rows = []
        for name, target in self.targets.items():
            features = drawn.features(name)
            scores |= target.scores(features, len(features))
            rows += [(measure, "blocks", values) for measure, values in target.blocks(features, BLOCKS).items()]
        return scores, rows

    def variety(self, drawn: Drawn) -> tuple[Mapping[str, float | None], dict[str, str]]:
        """Compare the cell's images with one another; with the reasons of what has no value."""
        if self.diversity is None:
            return {}, {}
        images = drawn.features(self.varied_by)[:VARIED] if self.varied_by else drawn.varied.read()
        return self.diversity.scores(images)

    def gates(self, scores: Mapping[str, float | None], settings: EvaluateParams) -> dict[str, str | None]:
        """Judge a cell: does it copy training images, does it draw the same all over again? None: not measured."""
        n, limits = settings.images, settings.gates
        copies = [
            memorisation(
                _number(scores[key("nn_ratio", n, name)]),
                _number(scores[key("nn_ratio_tenth", n, name)]),
                limits.nn_ratio,
            )
            for name in self.targets
        ]
        varied = [value for measure, value in scores.items() if measure.startswith("variety[") and value is not None]
        collapse = worst_of(*(gate(value, limits.variety) for value in varied)) if varied else None
        return {"gate_memorisation": worst_of(*copies), "gate_collapse": collapse}


def open_style(opened: Opened, reference: Path, reals: Reals, settings: EvaluateParams) -> StyleSide:
    """Read the features of real images; a network that the reference was made without is an error, or not run.

    Raises: as :func:`stages.measuring.reals.read_features`.
    """
    not_run: Reasons = []
    targets: dict[str, TargetSide] = {}
    extractors: dict[str, FeatureExtractor] = {}
    for kind, extractor in opened.of("style").items():
        try:
            train, heldout = read_features(reference, extractor, reals.digest)
        except MissingInputError as error:
            if settings.on_missing == "error" or not targets:
                raise
            not_run += left_out("style", [kind], str(error))
            continue
        targets[extractor.name] = TargetSide(extractor.name, train, heldout, settings.seed)
        extractors[extractor.name] = cached(extractor, CACHE_BYTES)
    diversity, varied_by = None, ""
    for kind, ruler in opened.of("diversity").items():  # one, or none whose weights are here
        if kind_of(kind).role == "distance":
            pictures = picture_ruler(ruler)
            some = chosen_rows(len(reals.train), pictures.most, settings.seed)  # those that it would choose of all
            diversity = Diversity(pictures, read_images(reals.train, some), settings.seed)
            continue
        try:
            train, _ = read_features(reference, ruler, reals.digest)
        except MissingInputError as error:
            if settings.on_missing == "error":
                raise
            not_run += left_out("diversity", [kind], str(error))
            continue
        diversity, varied_by = Diversity(feature_ruler(ruler.name), train, settings.seed), ruler.name
        extractors.setdefault(ruler.name, cached(ruler, CACHE_BYTES))
    return StyleSide(targets, extractors, diversity, varied_by, not_run)


class Likeness:
    """Pairs of a cell and the source; what drew the same pictures is measured once."""

    def __init__(self, side: SourceSide) -> None:
        self.side = side
        self._seen: dict[str, Seen] = {}

    def see(self, drawn: Drawn) -> tuple[Seen, Seen]:
        """Measure a cell's pairs with the source's w, and those with its own."""
        for spool in (drawn.pairs, drawn.own):
            if spool.digest not in self._seen:
                self._seen[spool.digest] = self.side.see(spool.read())
        return self._seen[drawn.pairs.digest], self._seen[drawn.own.digest]

    def scores(self, drawn: Drawn) -> tuple[Scores, Rows]:
        """Return means, intervals and lifts over both, and the numbers per pair."""
        plain, own = self.see(drawn)
        rows: Rows = [(measure, "pairs", values) for measure, values in self.side.per_pair(plain).items()]
        rows += [(measure, "pairs_own", values) for measure, values in self.side.per_pair(own).items()]
        return self.side.scores(plain) | own_names(self.side.scores(own)), rows


def finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON has no NaN: what could not be measured is null."""
    return {
        name: float(value) if value is not None and math.isfinite(value) else None for name, value in values.items()
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value
