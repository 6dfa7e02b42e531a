"""A few kills of whole runs; ``python -m tests.orchestration.kills`` does as many as one likes, on the demo too."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.orchestration.killed import Site
from tests.orchestration.kills import Killer, Tally
from tests.orchestration.platform import Server

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]


def test_whatever_is_killed_a_run_without_agents_ends_with_the_same_lock_and_repeats_nothing_that_was_stored(
    tmp_path: Path,
) -> None:
    with Site(tmp_path, toy=True, pools=False) as site:
        tally = Killer(site, Tally(), 4, random.Random(0), tmp_path / "progress.json").all()
    assert tally.kills == 4
    assert (tally.repeated, tally.different, tally.untidy) == ([], [], [])


def test_whatever_is_killed_a_run_on_agents_ends_with_the_same_lock_and_repeats_nothing_that_was_stored(
    server: Server, tmp_path: Path
) -> None:
    with Site(tmp_path, toy=True, pools=True, server=server) as site:
        tally = Killer(site, Tally(), 3, random.Random(0), tmp_path / "progress.json").all()
    assert tally.kills == 3
    assert (tally.repeated, tally.different, tally.untidy) == ([], [], [])
