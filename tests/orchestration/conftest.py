"""One Prefect server for all tests of this folder that a process runs; each test sweeps what it started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orchestration.platform import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server; tests that kill it start one of their own with ``serving``."""
    with serving(tmp_path_factory.mktemp("prefect-server")) as running:
        yield running
