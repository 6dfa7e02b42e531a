"""One Prefect server for each module of this folder, so that nobody finds what others have deployed or scheduled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orchestration.platform import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server; tests that kill it start one of their own with ``serving``."""
    with serving(tmp_path_factory.mktemp("prefect-server")) as running:
        yield running
