import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.running.toys import Toy, processes_in


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    """Whatever a test that failed has left running is ended."""
    yield
    while left := processes_in(tmp_path).keys() - {os.getpid()}:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """An empty DVC project in a git repository; tests write its dvc.yaml."""
    return Toy.make(tmp_path / "project")
