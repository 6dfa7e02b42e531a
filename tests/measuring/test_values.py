"""Numbers per pair and per block, in a file of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import CorruptInputError, MissingInputError
from stages.measuring.values import Values, read_values, write_values

ROWS = [
    Values("", "none", 0, "landmark_nme", "pairs", np.array([0.1, 0.2, 1 / 3])),
    Values("", "none", 0, "arcface_cos[arcface-01234567]", "pairs_own", np.array([0.5, np.nan])),
    Values("4_kimg", "weights", 8, "fid1k[stylenet-01234567]", "blocks", np.array([3.0])),
]


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    write_values(tmp_path / "values.parquet", ROWS)
    read = read_values(tmp_path / "values.parquet")
    assert [row[:5] for row in read] == [row[:5] for row in ROWS]
    for found, written in zip(read, ROWS, strict=True):
        assert np.array_equal(found.values, written.values, equal_nan=True)


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_values(tmp_path / name, ROWS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_broken_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "values.parquet"
    with pytest.raises(MissingInputError, match="evaluate"):
        read_values(path)
    path.write_bytes(b"PAR1 and nothing")
    with pytest.raises(CorruptInputError, match=r"values\.parquet: not a table"):
        read_values(path)
    pq.write_table(pa.table({"snapshot": ["x"]}), path)
    with pytest.raises(CorruptInputError, match="columns"):
        read_values(path)
    write_values(path, [ROWS[0]._replace(kind="bloks")])  # type: ignore[arg-type]
    with pytest.raises(CorruptInputError, match="bloks"):
        read_values(path)
