from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.webtoon.desk import TITLE, add
from tests.stages.world import Bench
from tests.web.webtoon_site import FakeWebtoon, fake_webtoon


@pytest.fixture
def site(hurry: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWebtoon]:
    with fake_webtoon() as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        made.add_title(TITLE)
        yield made


@pytest.fixture
def bench(in_folder: Bench) -> Bench:
    """Return it with the dataset `toon`."""
    add(in_folder, [TITLE])
    return in_folder
