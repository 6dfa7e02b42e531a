from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.measuring import instruments
from tests.measuring.bench import Bench, untrained


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return untrained(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="session")
def measured(networks: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Any]]:
    """One evaluation, done, and its metrics: to look at, not to change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instruments, "open_instrument", lambda name, weights: networks[name])
        bench = Bench(tmp_path_factory.mktemp("measured"), "baseline")
        return bench, bench.run()


@pytest.fixture
def opened(networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What names of the params file open in the stages; tests may put others in."""
    every = dict(networks)

    def open_standin(name: str, weights: dict[str, Path]) -> Any:
        return every[name]

    monkeypatch.setattr(instruments, "open_instrument", open_standin)
    return every
