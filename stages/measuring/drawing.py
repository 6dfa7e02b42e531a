"""Every generator of a sweep, drawing the same z: the source, the snapshots and everything swapped from the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model.blend.kinds import FeatureExchange, Kind, Side, kind_of, levels_of
from model.blend.sweep import Rgb, Sweep, picture, whole
from model.checkpoint.native import load_generator, read_header
from model.files import verify_manifest
from model.finetune import load_method
from model.finetune.technique import Technique, styled_ws
from model.networks.generator import Generator
from stages.swap import Take, blend_file


class Cell(NamedTuple):
    """What draws: a snapshot, and how much of the source is swapped into it."""

    snapshot: str  # folder of its blends; empty where a single snapshot was swept
    kind: str  # none, or a key of swap.kinds; source for the source itself
    level: int  # px, 0 for none and for a schedule

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
        """Load and check all weights; blended generators are loaded when their snapshot draws.

        Args:
            source: output of the stage ``pretrained``.
            trained: output of the stage ``train``.
            swaps: output of the stage ``swap``.
            device: where everything is drawn.
        """
        self.details = verify_manifest(trained)
        swept = verify_manifest(swaps)
        self.takes = [Take(**take) for take in swept["snapshots"]]
        self.kinds: dict[str, Kind] = {kind["name"]: kind_of(kind["settings"]) for kind in swept["kinds"]}
        self.levels: list[int] = swept["levels"]
        self.source = load_generator(source / "networks.safetensors").to(device)
        files = {take.folder: take.file for take in self.takes}  # several names may mean one snapshot
        self.targets = {folder: load_generator(trained / file).to(device) for folder, file in files.items()}
        self.techniques: list[Technique] = load_method(self.details["techniques"])
        weights = {"source": source / "networks.safetensors"} | {file: trained / file for file in files.values()}
        self.sha256 = {name: read_header(path).sha256 for name, path in weights.items()}
        self.noise = self.source.synthesis.const_noise()
        self.device = device
        self._swaps = swaps
        self._sweep: tuple[str, Sweep] | None = None  # of the snapshot that drew last

    def names(self, snapshot: str) -> list[Cell]:
        """Return every cell of a snapshot (by folder): no swap, then kind by kind, by level."""
        swapped = [Cell(snapshot, name, at) for name, kind in self.kinds.items() for at in levels_of(kind, self.levels)]
        return [Cell(snapshot, "none", 0), *swapped]

    def draw_source(self, z: Tensor, paired: bool) -> list[Picture]:
        """Draw ``z [N, z_dim]`` by the source, in the form of :meth:`draw`."""
        z = z.to(self.device)
        drawn = self.source.synthesis(self.source.broadcast(self.source.mapping(z)), self.noise)
        return [(SOURCE, drawn if paired else None, drawn)]

    def draw(self, snapshot: str, z: Tensor, paired: bool) -> Iterator[Picture]:
        """Draw ``z [N, z_dim]`` by every cell of a snapshot (by folder), in the order of :meth:`names`.

        A cell's own w are those of the mapping network that goes along with it, a tuned one's as its techniques choose
        them; where features are handed over, each generator reads its own.

        Yields: the cell, its pictures with the source's w (None unless ``paired``), its pictures with its own w; the
            same tensor twice where both are the same picture. What cells share is drawn once.
        """
        z = z.to(self.device)
        ws = self.source.broadcast(self.source.mapping(z))
        own = styled_ws(self.techniques, self.targets[snapshot], self.source, z)
        cells = self.names(snapshot)
        asked: tuple[Side | None, ...] = ("source", None) if paired else (None,)
        wanted = [self._picture(cell, w) for cell in cells for w in asked]
        images = self._sweep_of(snapshot).draw(wanted, {"source": ws, "target": own}, self.noise)
        for cell in cells:
            plain = next(images) if paired else None
            yield cell, plain, next(images)

    def _picture(self, cell: Cell, w: Side | None) -> Rgb:
        resolutions = self.source.config.resolutions
        if cell.kind == "none":
            return whole("target", w or "target", resolutions)
        return picture(self.kinds[cell.kind], cell.level, resolutions, w)

    def _sweep_of(self, snapshot: str) -> Sweep:
        if self._sweep is None or self._sweep[0] != snapshot:
            self._sweep = snapshot, Sweep(self.source, self.targets[snapshot], self._mixed(snapshot))
        return self._sweep[1]

    def _mixed(self, snapshot: str) -> dict[tuple[int, float], Generator]:
        """Load the blended generators that have blocks which neither parent has."""
        mixed: dict[tuple[int, float], Generator] = {}
        for name, kind in self.kinds.items():
            for at in levels_of(kind, self.levels):
                if isinstance(kind, FeatureExchange):
                    continue
                missing = [key for key in kind.blend(at, self.source.config.resolutions).mixed if key not in mixed]
                if missing:
                    generator = load_generator(self._swaps / snapshot / blend_file(name, at)).to(self.device)
                    mixed |= dict.fromkeys(missing, generator)
        return mixed
