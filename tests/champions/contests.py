"""A comparison as the stage ``compare`` leaves it, with the generators it names: small, and made to measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

STYLE = "kid1k_x1e3[stylenet-0123]"
HELDOUT = "kid1k_heldout_x1e3[stylenet-0123]"
ERROR = "kid1k_x1e3_std[stylenet-0123]"
RULES = {
    "gates": ["pass", "alarm"], "min_gain": 0.01, "sigmas": 2.0, "max_kid_ratio": 1.25, "max_similarity_loss": 0.05,
    "when_changed": "keep",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One generator of the comparison, and the bytes that are its weights."""

    method: str = "freeze_sg"
    kid: float = 50.0  # to held-out images
    similarity: float = 0.5
    swap: str = "none"
    level: int = 0
    seed: str = "s0"
    kid_error: float = 1.0
    gates: dict[str, str] = field(default_factory=lambda: {"gate_memorisation": "pass", "gate_collapse": "pass"})
    weights: bytes = b""  # none: they follow from everything else

    @property
    def content(self) -> bytes:
        return self.weights or repr(self).encode()


def write_params(root: Path, **rules: Any) -> None:
    """params.yaml of a profile with the section ``champion``."""
    (root / "dvc.yaml").write_text("stages: {}\n")
    text = {"profile": "demo", "datasets": {"flat": {}}, "champion": RULES | rules}
    (root / "params.yaml").write_text(json.dumps(text))


def write_comparison(root: Path, cells: Sequence[Cell], **changed: str) -> None:
    """Write table and generators of the profile demo.

    Args:
        root: the project.
        cells: of the dataset flat.
        changed: ``images``, ``source``, ``style`` or ``measures``: another one than usual.
    """
    for cell in cells:
        _write_generator(root, cell)
    style = STYLE.replace("stylenet-0123", changed.get("style", "stylenet-0123"))
    heldout = HELDOUT.replace("stylenet-0123", changed.get("style", "stylenet-0123"))
    about = {
        "format": 1, "profile": "demo", "command": "dvc repro", "datasets": ["flat"], "style": style,
        "methods": {cell.method: ["freeze_d"] for cell in cells}, "measures": [changed.get("measures", "nme")],
        "settings": {"kinds": {
            "weights": {"mix": "weights", "low": "source", "width": None, "mapping": "low"},
            "features": {"mix": "features", "low": "source", "rgb_skip": "target"},
        }},
        "anchors": {"flat": {"source": {heldout: 900.0}}},
        "findings": {"floors": {"flat": 4.0}, "limits": {"flat": 270.0}},
        "facts": {"": {"n_gen": 1000}, "flat": {
            "n_real": 200, "n_heldout": 200, "lmdb_digest": changed.get("images", "a" * 64),
            "weights": {f"{c.method}-flat-{c.seed}": {"source": changed.get("source", "b" * 64)} for c in cells},
        }},
    }  # fmt: skip
    rows = [
        {
            "method": cell.method, "dataset": "flat", "seed": cell.seed, "snapshot": "", "kimg": 8.0, "swap": cell.swap,
            "level": cell.level, style: cell.kid, heldout: cell.kid, ERROR: cell.kid_error,
            "similarity": cell.similarity, **cell.gates,
            "pairs:similarity": [cell.similarity - 0.01, cell.similarity + 0.01] * 50,
        } for cell in cells
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows).replace_schema_metadata({b"cartoon": json.dumps(about).encode()})
    data = root / "reports" / "demo" / "data"
    data.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, data / "table.parquet")


def generator_file(root: Path, cell: Cell) -> Path:
    """Where the stages leave a cell's weights."""
    name = f"{cell.method}-flat-{cell.seed}"
    if cell.swap == "none":
        return root / "work" / "demo" / "train" / name / "snapshots" / "00008000.safetensors"
    return root / "work" / "demo" / "swap" / name / f"{cell.swap}-{cell.level}.safetensors"


def _write_generator(root: Path, cell: Cell) -> None:
    swaps = root / "work" / "demo" / "swap" / f"{cell.method}-flat-{cell.seed}"
    swaps.mkdir(parents=True, exist_ok=True)
    take = {"name": "kept", "kimg": 8.0, "file": "snapshots/00008000.safetensors", "folder": ""}
    (swaps / "MANIFEST.json").write_text(
        json.dumps({"snapshots": [take], "techniques": {"freeze_d": {"train_up_to": 32}}})
    )
    if cell.swap == "features":
        return
    file = generator_file(root, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cell.content)
    noted = {"sha256": hashlib.sha256(cell.content).hexdigest(), "bytes": len(cell.content), "format": 1}
    file.with_name(f"{file.name}.json").write_text(json.dumps(noted))
