"""A crawl that is killed at random instants loses nothing and ends with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.killcrawl import EPISODES, SLICES, kill_crawls


@pytest.mark.slow
def test_a_killed_crawl_goes_on_and_ends_with_the_same_hashes(tmp_path: Path) -> None:
    tally = kill_crawls(tmp_path, kills=20, seed=3)
    assert (tally.different, tally.half, tally.strays) == ([], [], [])
    assert tally.kills == 20
    assert tally.crawls >= 1
    assert tally.most_pictures_asked <= EPISODES * SLICES + 20  # a kill costs the one picture that was on its way
