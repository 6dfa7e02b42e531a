from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.web import politeness
from tests.sources.webtoon.desk import TITLE, add
from tests.stages.world import Bench
from tests.web.webtoon_site import FakeWebtoon, fake_webtoon


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWebtoon]:
    monkeypatch.setattr(politeness, "_FIRST_S", 0.001)  # of backing off
    with fake_webtoon() as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        made.add_title(TITLE)
        yield made


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench with the dataset `toon`, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    made = Bench(tmp_path)
    made.values["profile"] = "bench"
    add(made, [TITLE])
    return made
