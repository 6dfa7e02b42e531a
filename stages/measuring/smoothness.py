"""Perceptual path length of the generators of an evaluation that nothing was swapped into."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.finetune.technique import styled_ws
from model.metrics.extractors.catalogue import kind_of
from model.metrics.names import key
from model.metrics.path_length import path_length, path_lengths, smooth_distance
from model.training.randomness import latents
from stages.measuring.drawing import SOURCE, Cell, Cells
from stages.measuring.instruments import Opened

BATCH = 16  # ways at once, of two pictures each


class Smoothness:
    """PPL by one instrument, on the same z for every generator."""

    def __init__(self, cells: Cells, opened: Opened, seed: int, count: int) -> None:
        """Choose the instrument: a perceptual distance where one is asked for, else that of ``evaluate.diversity``."""
        every = {**opened.of("diversity"), **opened.of("likeness"), **opened.of("style")}
        distances = [one for name, one in every.items() if kind_of(name).role == "distance"]
        instrument: Any = next(iter([*distances, *every.values()]))
        self.name = key("ppl", extractor=instrument.name)
        self.distance = smooth_distance(instrument)
        self.cells = cells
        self.z = latents(seed, "path_length", 0, 2 * count, cells.source.config.z_dim)

    @torch.inference_mode()
    def __call__(self, cell: Cell) -> dict[str, float]:
        """Measure the source, or a snapshot as it was tuned."""
        tuned = cell != SOURCE
        generator = self.cells.targets[cell.snapshot] if tuned else self.cells.source
        z = self.z.to(self.cells.device)
        ws = self._own(cell, z) if tuned else generator.broadcast(generator.mapping(z))
        half = len(ws) // 2
        lengths = [
            path_lengths(
                lambda part: generator.synthesis(part, self.cells.noise),
                ws[:half][start : start + BATCH],
                ws[half:][start : start + BATCH],
                self.distance,
            )
            for start in range(0, half, BATCH)
        ]
        return {self.name: path_length(np.concatenate(lengths))}

    def _own(self, cell: Cell, z: Tensor) -> Tensor:
        return styled_ws(self.cells.techniques, self.cells.targets[cell.snapshot], self.cells.source, z)
