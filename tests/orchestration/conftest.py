"""One Prefect server for each module of this folder, so that nobody finds what others have deployed or scheduled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.platform import Server, empty_tables, serving


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's empty database, one for all processes of a test session."""
    mine = tmp_path_factory.getbasetemp()
    return empty_tables(mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine)


@pytest.fixture(scope="module")
def server(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server; tests that kill it start one of their own with ``serving``."""
    with serving(tmp_path_factory.mktemp("prefect-server"), tables) as running:
        yield running
