"""Drawing all z by every cell, and what is kept of it: features of everything, pictures of the first ones on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.data.images import UInt8, to_uint8
from model.metrics.extractors.base import FeatureExtractor, Floats
from model.progress import Progress
from stages.measuring.drawing import Cell, Picture
from stages.measuring.spool import Spool

BATCH = 64  # images generated at once, always: what is drawn of a z does not depend on how many there are
Draw = Callable[[Tensor, bool], Iterable[Picture]]  # z [N, z_dim] and whether pairs are wanted -> the cells' pictures


@dataclass(frozen=True)
class Keep:
    """What is kept."""

    pairs: int  # pictures with the source's w, and with the cell's own w, of the first so many z
    varied: int  # pictures with the cell's own w, to measure their variety
    extractors: Mapping[str, FeatureExtractor]  # whose features of all pictures with the cell's own w are kept
    folder: Path  # for pictures


@dataclass(frozen=True)
class Drawn:
    """What one cell drew."""

    pairs: Spool  # with the source's w
    own: Spool  # with the cell's own w, of the same z
    varied: Spool  # with the cell's own w
    _features: dict[str, list[Floats]] = field(default_factory=dict)

    def take(self, name: str, features: Floats) -> None:
        """Add features of the next images."""
        self._features.setdefault(name, []).append(features)

    def features(self, name: str) -> Floats:
        """Return the features of every image by an extractor, ``[N, d]``."""
        return np.concatenate(self._features[name])


@torch.inference_mode()
def draw_all(draw: Draw, z: Tensor, keep: Keep, label: str) -> dict[Cell, Drawn]:
    """Draw ``z [N, z_dim]`` by every cell, a batch of pictures in memory at a time."""
    drawn: dict[Cell, Drawn] = {}
    with Progress(label, total=len(z), unit="faces") as progress:
        for start in range(0, len(z), BATCH):
            count = min(BATCH, len(z) - start)
            for cell, paired, own in _batch(draw, z[start : start + BATCH], start < keep.pairs):
                if cell not in drawn:
                    drawn[cell] = _start(keep.folder / (cell.snapshot or "_") / f"{cell.kind}-{cell.level}")
                into = drawn[cell]
                mine = to_uint8(own)[:count]
                if paired is not None:
                    left = keep.pairs - start
                    into.pairs.append(mine[:left] if paired is own else to_uint8(paired)[: min(left, count)])
                    into.own.append(mine[:left])
                if start < keep.varied:
                    into.varied.append(mine[: keep.varied - start])
                for name, extractor in keep.extractors.items():
                    into.take(name, extractor(mine))
            progress.update(count)
    return drawn


@torch.inference_mode()
def redraw(draw: Draw, z: Tensor, *, cells: int | None = None, paired: bool) -> dict[Cell, UInt8]:
    """Draw a few z again, exactly as :func:`draw_all` did.

    Args:
        draw: as there.
        z: ``[N, z_dim]``.
        cells: only so many, the first; None for all.
        paired: the pictures with the source's w, else those with the cell's own.
    """
    images: dict[Cell, list[UInt8]] = {}
    for start in range(0, len(z), BATCH):
        part = z[start : start + BATCH]
        for place, (cell, plain, own) in enumerate(_batch(draw, part, paired)):
            if cells is not None and place >= cells:
                break
            images.setdefault(cell, []).append(to_uint8(own if plain is None else plain)[: len(part)])
    return {cell: np.concatenate(parts) for cell, parts in images.items()}


def _batch(draw: Draw, z: Tensor, paired: bool) -> Iterator[Picture]:
    """Draw a full batch whatever is asked for: kernels differ by batch size, and so would the last digits."""
    filled = torch.cat([z, z[-1:].expand(BATCH - len(z), -1)])
    yield from draw(filled, paired)


def _start(folder: Path) -> Drawn:
    return Drawn(Spool(folder / "pairs"), Spool(folder / "own"), Spool(folder / "varied"))
