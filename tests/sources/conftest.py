"""Sources of pictures on a server that errs, and a bench with a list of addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.web import politeness
from tests.stages.world import Bench
from tests.web.faultserver import FaultServer, serving


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds."""
    monkeypatch.setattr(politeness, "_FIRST_S", 0.001)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    made = Bench(tmp_path)
    made.values["profile"] = "bench"
    return made


@pytest.fixture
def bench(in_folder: Bench) -> Bench:
    """Return it with the dataset `list`, of the addresses in list.csv."""
    in_folder.dataset("list", "urls", Path("list.csv"))
    return in_folder


@pytest.fixture
def server(hurry: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with serving() as made:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", made.place)
        monkeypatch.setenv("CARTOON_OFFLINE", "")
        yield made
