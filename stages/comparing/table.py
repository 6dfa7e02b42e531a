"""The comparison as one file: ``table.parquet``, a row per cell, with everything the page says in its metadata.

A cell is one generator: method x dataset x seed x snapshot x swap. Its columns are where it stands, one number per
metric (names as :mod:`model.metrics.names` makes them), ``gate_...`` texts, ``pairs:MEASURE`` (one number per pair, in
the order of z) and ``blocks:METRIC`` (one number per disjoint block of z). What belongs to no cell lies in
:class:`About`, as JSON in the metadata of the file. The page is made from this file and the pictures beside it alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.errors import CorruptInputError, MissingInputError
from model.files import atomic_write

FORMAT = 1
PLACE = {
    "method": pa.string(), "dataset": pa.string(), "seed": pa.string(), "snapshot": pa.string(), "kimg": pa.float64(),
    "swap": pa.string(), "level": pa.int64(),
}  # fmt: skip
PAIRS, BLOCKS, GATE = "pairs:", "blocks:", "gate_"
_KEY = b"cartoon"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One row."""

    method: str
    dataset: str
    seed: str
    snapshot: str  # kept, best, last, 10_kimg; empty where a single one was swept
    kimg: float  # of the snapshot
    swap: str  # none, or a key of swap.kinds
    level: int  # px, 0 for none
    values: dict[str, float]  # metric -> number; what could not be measured is absent
    gates: dict[str, str] = field(default_factory=dict)  # gate_memorisation, gate_collapse -> pass, alarm, fail
    pairs: dict[str, Floats] = field(default_factory=dict, repr=False)  # measure -> [n_pairs]
    blocks: dict[str, Floats] = field(default_factory=dict, repr=False)  # metric -> [n_blocks]


@dataclass(frozen=True)
class About:
    """What belongs to no cell; plain values only, for it is stored as JSON."""

    profile: str
    command: str  # what makes this comparison again
    datasets: list[str]  # of the grid, in the order of the params file
    methods: dict[str, list[str]]  # method -> its techniques
    seeds: list[str]
    settings: dict[str, Any]  # section compare
    style: str  # key of the metric that ranks style (KID)
    fid: str  # key of the FID on the same features
    measures: list[str]  # whose lifts make ``similarity``
    anchors: dict[str, dict[str, dict[str, float]]]  # dataset -> source, shuffled, real_split -> metric -> number
    facts: dict[str, dict[str, Any]]  # dataset -> n_real, n_heldout, digest, ...; "" -> what holds for all
    missing: list[str]  # cells of the grid, in words
    not_run: list[dict[str, str]]  # metric, reason
    trainings: list[dict[str, Any]]  # method, dataset, seed, kimg, kept, stopped, stats: {name: [[kimg, value], ...]}
    findings: dict[str, Any]  # see stages/comparing/findings.py
    digests: dict[str, str]  # of what it was made from


@dataclass(frozen=True)
class Table:
    """The whole comparison."""

    cells: tuple[Cell, ...]
    about: About


def write_table(path: Path, table: Table) -> None:
    """Write the file; equal tables give equal bytes."""
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(cell, name) for cell in table.cells], kind) for name, kind in PLACE.items()
    }
    for attribute, prefix, kind in (
        ("values", "", pa.float64()), ("gates", "", pa.string()), ("pairs", PAIRS, pa.list_(pa.float64())),
        ("blocks", BLOCKS, pa.list_(pa.float64())),
    ):  # fmt: skip
        for key in dict.fromkeys(key for cell in table.cells for key in getattr(cell, attribute)):
            column = [getattr(cell, attribute).get(key) for cell in table.cells]
            columns[prefix + key] = pa.array(column, kind)
    about = json.dumps({"format": FORMAT, **asdict(table.about)}, sort_keys=True, allow_nan=False)
    arrow = pa.table(columns).replace_schema_metadata({_KEY: about.encode()})
    buffer = BytesIO()
    pq.write_table(arrow, buffer, compression="zstd")
    atomic_write(path, lambda file: file.write(buffer.getvalue()))


def read_table(path: Path) -> Table:
    """Read the file.

    Raises: MissingInputError without it; CorruptInputError if it is not such a table.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; run `dvc repro` to compare first")
    try:
        arrow = pq.read_table(path)
        about = json.loads((arrow.schema.metadata or {})[_KEY])
        if about.pop("format") != FORMAT:
            raise CorruptInputError(f"{path}: written by another version; run `dvc repro` to compare again")
        cells = tuple(_cell(row) for row in arrow.to_pylist())
        return Table(cells, About(**about))
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        message = f"{path}: not a comparison ({type(error).__name__}: {error}); run `dvc repro` to compare again"
        raise CorruptInputError(message) from error


def _cell(row: dict[str, Any]) -> Cell:
    place = {name: row.pop(name) for name in PLACE}
    values, gates, pairs, blocks = {}, {}, {}, {}
    for key, value in row.items():
        if value is None:
            continue
        if key.startswith(PAIRS):
            pairs[key.removeprefix(PAIRS)] = np.array(value, dtype=np.float64)
        elif key.startswith(BLOCKS):
            blocks[key.removeprefix(BLOCKS)] = np.array(value, dtype=np.float64)
        elif key.startswith(GATE):
            gates[key] = value
        else:
            values[key] = value
    return Cell(**place, values=values, gates=gates, pairs=pairs, blocks=blocks)
