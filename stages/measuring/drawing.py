"""Every generator of a sweep, drawing the same z: the source, the snapshots and everything swapped from the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model.blend import Side, sweep_features
from model.checkpoint.native import load_generator, read_header
from model.files import verify_manifest
from model.finetune import load_method
from model.finetune.technique import Technique, styled_ws
from model.networks.generator import Generator
from stages.swap import Take


class Cell(NamedTuple):
    """What draws: a snapshot, and how much of the source is swapped into it."""

    snapshot: str  # folder of its blends; empty where a single snapshot was swept
    kind: str  # none, weights, features; source for the source itself
    level: int  # px, 0 for none

    @property
    def file(self) -> str:
        """Name of its pictures, without suffix."""
        own = "source" if self.kind == "source" else f"{self.kind}-{self.level}"
        return f"{self.snapshot}/{own}" if self.snapshot else own


SOURCE = Cell("", "source", 0)
Picture = tuple[Cell, Tensor | None, Tensor]


class Cells:
    """The source, the snapshots of a training and everything swapped from them, all on one device."""

    def __init__(self, source: Path, trained: Path, swaps: Path, device: torch.device) -> None:
        """Load and check all weights."""
        self.details = verify_manifest(trained)
        swept = verify_manifest(swaps)
        self.takes = [Take(**take) for take in swept["snapshots"]]
        self.levels: list[int] = swept["levels"]
        self.source = load_generator(source / "networks.safetensors").to(device)
        files = {take.folder: take.file for take in self.takes}  # several names may mean one snapshot
        self.targets = {folder: load_generator(trained / file).to(device) for folder, file in files.items()}
        self.blends = {folder: self._blends(swaps / folder, device) for folder in files}
        self.techniques: list[Technique] = load_method(self.details["techniques"])
        weights = {"source": source / "networks.safetensors"} | {file: trained / file for file in files.values()}
        self.sha256 = {name: read_header(path).sha256 for name, path in weights.items()}
        self.noise = self.source.synthesis.const_noise()
        self.device = device

    def names(self, snapshot: str) -> list[Cell]:
        """Return every cell of a snapshot (by folder): no swap, then weights, then features, by level."""
        swapped = [Cell(snapshot, kind, at) for kind in ("weights", "features") for at in self.levels]
        return [Cell(snapshot, "none", 0), *swapped]

    def draw_source(self, z: Tensor, paired: bool) -> list[Picture]:
        """Draw ``z [N, z_dim]`` by the source, in the form of :meth:`draw`."""
        z = z.to(self.device)
        drawn = self.source.synthesis(self.source.broadcast(self.source.mapping(z)), self.noise)
        return [(SOURCE, drawn if paired else None, drawn)]

    def draw(self, snapshot: str, rgb_skip: Side, z: Tensor, paired: bool) -> Iterator[Picture]:
        """Draw ``z [N, z_dim]`` by every cell of a snapshot (by folder), in the order of :meth:`names`.

        Yields: the cell, its pictures with the source's w (None unless ``paired``), its pictures with its own w; the
            same tensor twice where both w are equal.
        """
        z, target = z.to(self.device), self.targets[snapshot]
        ws = self.source.broadcast(self.source.mapping(z))
        own = styled_ws(self.techniques, target, self.source, z)
        same = torch.equal(ws, own)
        drawn = target.synthesis(own, self.noise)
        plain = (drawn if same else target.synthesis(ws, self.noise)) if paired else None
        yield Cell(snapshot, "none", 0), plain, drawn
        swapped = {}
        for at, blend in self.blends[snapshot].items():
            # A blend's mapping network is the source's, so its own w are the source's.
            swapped[at] = blend.synthesis(blend.broadcast(blend.mapping(z)), self.noise)
            yield Cell(snapshot, "weights", at), swapped[at] if paired else None, swapped[at]
        # Handing over the source's RGB too draws, from equal w, what the swapped weights drew.
        injected = paired or same
        shared = swapped if rgb_skip == "source" else self._inject(target, ws, ws, rgb_skip) if injected else {}
        mine = shared if same else self._inject(target, ws, own, rgb_skip)
        for at in self.levels:
            yield Cell(snapshot, "features", at), shared[at] if paired else None, mine[at]

    def _inject(self, target: Generator, ws: Tensor, own: Tensor, rgb_skip: Side) -> dict[int, Tensor]:
        return sweep_features(self.source, target, ws, own, self.noise, self.levels, rgb_skip)

    def _blends(self, folder: Path, device: torch.device) -> dict[int, Generator]:
        return {level: load_generator(folder / f"weights-{level}.safetensors").to(device) for level in self.levels}
