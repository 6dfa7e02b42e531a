"""What a cell's means are means of, as ``values.parquet``: one number per pair of images, or per block of z.

Long form, one row per snapshot, swap, level and measure. Paired differences between cells, and what is left to chance
in a FID, come from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.errors import CorruptInputError, MissingInputError
from model.files import atomic_write

Kind = Literal["pairs", "pairs_own", "blocks"]
_SCHEMA = pa.schema(
    [
        ("snapshot", pa.string()), ("swap", pa.string()), ("level", pa.int64()), ("measure", pa.string()),
        ("kind", pa.string()), ("values", pa.list_(pa.float64())),
    ]
)  # fmt: skip


class Values(NamedTuple):
    """One row."""

    snapshot: str  # kept, best, last, 10_kimg; empty where a single one was swept
    swap: str  # none, or a key of swap.kinds
    level: int  # px, 0 for none
    measure: str  # key of the metric in metrics.json, without _own
    kind: Kind  # pairs (with the source's w), pairs_own (with the cell's own w), or blocks (of generated images)
    values: NDArray[np.float64]  # in the order of z; NaN where there is nothing to measure (no face)


def write_values(path: Path, rows: Sequence[Values]) -> None:
    """Write the file; equal rows give equal bytes."""
    columns = {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}
    buffer = BytesIO()
    pq.write_table(pa.table(columns, schema=_SCHEMA), buffer, compression="zstd")
    atomic_write(path, lambda file: file.write(buffer.getvalue()))


def read_values(path: Path) -> list[Values]:
    """Read the file, in the order it was written in.

    Raises: MissingInputError without it; CorruptInputError if it is not such a file.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; run the stage `evaluate` that writes it")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CorruptInputError(f"{path}: not a table ({error}); run the stage `evaluate` again") from error
    if not table.schema.equals(_SCHEMA):
        raise CorruptInputError(
            f"{path}: columns {table.schema.names}, expected {_SCHEMA.names}; run the stage `evaluate` again"
        )
    rows = [Values(**{**row, "values": np.array(row["values"], dtype=np.float64)}) for row in table.to_pylist()]
    unknown = {row.kind for row in rows} - set(get_args(Kind))
    if unknown:
        raise CorruptInputError(f"{path}: unknown kinds {sorted(unknown)}; run the stage `evaluate` again")
    return rows
