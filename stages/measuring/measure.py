"""Measure every cell of one training: the numbers, their pairs and blocks, and the pictures chosen by rule."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from model.data.images import UInt8
from model.metrics.memorisation import closest
from model.metrics.names import key
from model.metrics.pairs import SourceSide
from model.training.randomness import latents
from stages.measuring.drawing import SOURCE, Cell, Cells
from stages.measuring.drawn import Drawn, Keep, draw_all, redraw
from stages.measuring.galleries import FAILURES, NEAREST, Headline, Picks, failures, headline_of, nearest, pick, strip
from stages.measuring.instruments import Opened, Reasons
from stages.measuring.reals import Reals, read_images
from stages.measuring.settings import EvaluateParams
from stages.measuring.sides import VARIED, Likeness, Rows, StyleSide, finite
from stages.measuring.smoothness import open_smoothness

NAMED_Z = 1000  # the hash of z covers the first so many
Numbers = dict[str, float | None]


@dataclass
class Found:
    """What is kept of an evaluation."""

    scores: dict[Cell, Numbers] = field(default_factory=dict)
    gates: dict[Cell, dict[str, str | None]] = field(default_factory=dict)
    rows: dict[Cell, Rows] = field(default_factory=dict)
    anchors: dict[str, Numbers] = field(default_factory=dict)
    strips: dict[Cell, UInt8] = field(default_factory=dict)  # tiles of each, side by side
    picks: dict[str, Any] = field(default_factory=dict)  # which z the tiles show
    sheets: dict[str, UInt8] = field(default_factory=dict)  # nearest, failures
    reasons: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))  # metric, why -> cells

    def not_run(self) -> Reasons:
        """Say which metrics have no value for some cells, and why."""
        return [
            {"metric": metric, "reason": f"{reason} ({', '.join(dict.fromkeys(cells))})"}
            for (metric, reason), cells in self.reasons.items()
        ]


class Study:
    """One training's cells beside everything that they are compared with."""

    def __init__(self, cells: Cells, reals: Reals, style: StyleSide, opened: Opened, settings: EvaluateParams) -> None:
        """Draw the z; nothing else is computed yet."""
        self.cells, self.reals, self.style, self.opened, self.settings = cells, reals, style, opened, settings
        self.z = latents(settings.seed, "evaluate", 0, settings.images, cells.source.config.z_dim)
        self.smoothness = open_smoothness(cells, opened, settings)
        self.found = Found()

    @property
    def z_sha256(self) -> str:
        """Hash of the first z: the same for everything that may be compared."""
        return hashlib.sha256(self.z[:NAMED_Z].numpy().tobytes()).hexdigest()

    def run(self, scratch: Path, floors: dict[str, dict[str, float]]) -> Found:
        """Measure the source, then snapshot by snapshot, so that the pictures of one at a time are on disk.

        Args:
            scratch: a folder for pictures.
            floors: extractor -> what its metrics say of two halves of the real images, by family.
        """
        with TemporaryDirectory(dir=scratch) as folder:
            untuned = draw_all(self.cells.draw_source, self.z, self._keep(folder), "evaluate: source")[SOURCE]
            sources = untuned.pairs.read()
            instruments = list(self.opened.of("likeness").values())
            likeness = Likeness(SourceSide(sources, instruments, self.settings.seed))
            self.found.anchors["source"], _ = self._measure(SOURCE, untuned, likeness)
        self.found.anchors["real_split"] = finite(self._floor(floors))
        picks = None
        for snapshot in self.cells.targets:
            with TemporaryDirectory(dir=scratch) as folder:
                draw = partial(self.cells.draw, snapshot)
                drawn = draw_all(draw, self.z, self._keep(folder), f"evaluate: {snapshot or 'tuned'}")
                for cell, pictures in drawn.items():
                    self.found.scores[cell], self.found.rows[cell] = self._measure(cell, pictures, likeness)
                    self.found.gates[cell] = self.style.gates(self.found.scores[cell], self.settings)
                if picks is None:  # the first cell is the main snapshot without a swap
                    cell, pictures = next(iter(drawn.items()))
                    picks = self._main(cell, pictures, likeness, sources)
            tiles = redraw(draw, self.z[picks.all], paired=True)
            self.found.strips |= {cell: strip(images) for cell, images in tiles.items()}
        assert picks is not None
        self.found.strips[SOURCE] = strip(sources[picks.all])
        self.found.picks = picks.as_json()
        return self.found

    def _keep(self, folder: str) -> Keep:
        pictures = self.style.diversity is not None and not self.style.varied_by
        return Keep(self.settings.pairs, VARIED if pictures else 0, self.style.extractors, Path(folder))

    def _measure(self, cell: Cell, drawn: Drawn, likeness: Likeness) -> tuple[Numbers, Rows]:
        scores, blocks = self.style.fit(drawn)
        alike, pairs = likeness.scores(drawn)
        varied, reasons = self.style.variety(drawn)
        smooth = self.smoothness(cell) if self.smoothness and cell.kind in ("none", SOURCE.kind) else {}
        for metric, reason in reasons.items():
            self.found.reasons[metric, reason].append(cell.file)
        return finite(scores | alike | smooth | dict(varied)), [*pairs, *blocks]

    def _floor(self, floors: dict[str, dict[str, float]]) -> dict[str, float]:
        """Name the floors as the cells' metrics are named, so that they stand beside one another."""
        return {
            family if family.startswith("n_") else key(family, self.settings.images, name): value
            for name in self.style.targets
            for family, value in floors[name].items()
        }

    def _main(self, cell: Cell, drawn: Drawn, likeness: Likeness, sources: UInt8) -> Picks:
        """Take from the main cell what stands for the whole training: picks, shuffled floor, galleries."""
        seen, _ = likeness.see(drawn)
        self.found.anchors["shuffled"] = finite(likeness.side.shuffled(seen))
        measure = headline_of(self.opened.of("likeness"))
        headline = Headline(measure, likeness.side.per_pair(seen)[measure])
        worst = headline.worst(FAILURES)
        if len(worst):
            self.found.sheets["failures"] = failures(headline, worst, sources[worst], drawn.pairs.read()[worst])
        ranks = self.style.ranks
        near, train, apart = closest(drawn.features(ranks.name).astype(np.float64), ranks.train, NEAREST)
        images = redraw(partial(self.cells.draw, cell.snapshot), self.z[near], cells=1, paired=False)[cell]
        self.found.sheets["nearest"] = nearest(apart.tolist(), images, read_images(self.reals.train, train), ranks.name)
        return pick(self.settings.tiles, headline, self.settings.seed)
