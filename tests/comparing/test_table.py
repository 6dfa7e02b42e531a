"""The comparison as one file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import CorruptInputError, MissingInputError
from stages.comparing.table import Cell, Table, read_table, write_table
from tests.comparing.tables import demo_table


def same(one: Cell, other: Cell) -> bool:
    first, second = (cell.pairs | {f"block {name}": row for name, row in cell.blocks.items()} for cell in (one, other))
    numbers = first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
    return numbers and replace(one, pairs={}, blocks={}) == replace(other, pairs={}, blocks={})


def test_a_table_is_read_as_it_was_written_and_written_again_byte_by_byte(tmp_path: Path) -> None:
    table = demo_table(("s0",), ("best", "10_kimg"))
    lacking = replace(table.cells[0], values={"similarity": 0.1 + 0.2}, gates={}, pairs={}, blocks={})
    table = Table((lacking, *table.cells[1:]), table.about)
    write_table(tmp_path / "one.parquet", table)
    found = read_table(tmp_path / "one.parquet")
    assert found.about == table.about
    assert all(same(one, other) for one, other in zip(found.cells, table.cells, strict=True))
    write_table(tmp_path / "two.parquet", found)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_what_is_no_table_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with pytest.raises(MissingInputError, match=r"table\.parquet.*dvc repro"):
        read_table(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(CorruptInputError, match=r"table\.parquet"):
        read_table(path)
    pq.write_table(pa.table({"method": ["a"]}), path)
    with pytest.raises(CorruptInputError, match=r"table\.parquet.*dvc repro"):
        read_table(path)
    write_table(path, demo_table(("s0",)))
    arrow = pq.read_table(path)
    about = json.loads(arrow.schema.metadata[b"cartoon"]) | {"format": 99}
    pq.write_table(arrow.replace_schema_metadata({b"cartoon": json.dumps(about)}), path)
    with pytest.raises(CorruptInputError, match="another version"):
        read_table(path)
