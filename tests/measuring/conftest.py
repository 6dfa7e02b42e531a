from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.measuring import instruments
from tests.measuring.bench import untrained


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return untrained(tmp_path_factory.mktemp("assets"))


@pytest.fixture
def opened(networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What names of the params file open in the stages; tests may put others in."""
    every = dict(networks)

    def open_standin(name: str, weights: dict[str, Path]) -> Any:
        return every[name]

    monkeypatch.setattr(instruments, "open_instrument", open_standin)
    return every
