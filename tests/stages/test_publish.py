"""The stage that puts what git keeps where git keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import MissingInputError
from stages.publish import PUBLISHED, publish


def test_the_readable_parts_are_copied_byte_for_byte_and_nothing_else_is_touched(tmp_path: Path) -> None:
    data, out = tmp_path / "report" / "data", tmp_path / "report"
    data.mkdir(parents=True)
    (data / "table.md").write_bytes("### In short \u2013\r\n".encode())
    (data / "metrics.json").write_text('{"flat": {}}\n')
    (data / "table.csv").write_text("a\n")
    (out / "index.html").write_text("of another stage")
    publish(data, out)
    assert {p.name for p in out.iterdir()} == {"data", "index.html", *PUBLISHED}
    assert all((out / name).read_bytes() == (data / name).read_bytes() for name in PUBLISHED)
    assert (out / "index.html").read_text() == "of another stage"


def test_nothing_is_published_of_half_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.md").write_text("x")
    with pytest.raises(MissingInputError, match=r"metrics.json: no such file; `dvc repro`"):
        publish(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()
