"""Perceptual path length of the generators of an evaluation that nothing was swapped into."""

from __future__ import annotations

import torch
from torch import Tensor

from model.finetune.technique import styled_ws
from model.metrics.extractors.base import Instrument
from model.metrics.extractors.catalogue import kind_of
from model.metrics.names import key
from model.metrics.path_length import path_length, path_lengths, smooth_distance
from model.training.randomness import latents
from stages.measuring.drawing import SOURCE, Cell, Cells
from stages.measuring.instruments import Opened
from stages.measuring.settings import EvaluateParams


class Smoothness:
    """PPL by one instrument, on the same z for every generator."""

    def __init__(self, cells: Cells, instrument: Instrument, settings: EvaluateParams) -> None:
        """Choose the z. Raises: UsageError if the instrument cannot measure pictures that were never rounded."""
        self.name = key("ppl", extractor=instrument.name)
        self.distance = smooth_distance(instrument)
        self.cells = cells
        self.z = latents(settings.seed, "path_length", 0, 2 * settings.path_length, cells.source.config.z_dim)

    @torch.inference_mode()
    def __call__(self, cell: Cell) -> dict[str, float]:
        """Measure the source, or a snapshot as it was tuned."""
        tuned = cell != SOURCE
        generator = self.cells.targets[cell.snapshot] if tuned else self.cells.source
        z = self.z.to(self.cells.device)
        ws = self._own(cell, z) if tuned else generator.broadcast(generator.mapping(z))
        starts, ends = ws.chunk(2)
        lengths = path_lengths(lambda part: generator.synthesis(part, self.cells.noise), starts, ends, self.distance)
        return {self.name: path_length(lengths)}

    def _own(self, cell: Cell, z: Tensor) -> Tensor:
        return styled_ws(self.cells.techniques, self.cells.targets[cell.snapshot], self.cells.source, z)


def open_smoothness(cells: Cells, opened: Opened, settings: EvaluateParams) -> Smoothness | None:
    """Choose the instrument: a perceptual distance where one is asked for, else that of ``evaluate.diversity``.

    Returns: None if PPL is not asked for, or the weights of everything it could be measured by are missing.
    """
    varied = opened.of("diversity")
    distances = [one for name, one in (varied | opened.of("likeness")).items() if kind_of(name).role == "distance"]
    instrument = next(iter([*distances, *varied.values()]), None)
    return None if instrument is None or not settings.path_length else Smoothness(cells, instrument, settings)
