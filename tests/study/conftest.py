from __future__ import annotations

from pathlib import Path

import pytest

from stages.comparing.table import Table
from stages.study.plan import Study, plan
from tests.comparing.tables import demo_table, write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``data`` of a comparison of three methods on one dataset."""
    folder = tmp_path_factory.mktemp("comparison") / "data"
    write_data(folder, demo_table(seeds=("s0",), datasets=("flat",)))
    return folder


@pytest.fixture(scope="session")
def table() -> Table:
    return demo_table(seeds=("s0",), datasets=("flat",))


@pytest.fixture(scope="session")
def study(table: Table, data: Path) -> Study:
    return plan(table, data / "pictures")
