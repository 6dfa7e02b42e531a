"""A crawl that is killed leaves the old folder or the new one (few kills here, many by ``tests.sources.crawlkill``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.crawlkill import KINDS, rounds


@pytest.mark.slow
def test_kill_9_at_random_instants_leaves_old_or_new_and_no_reader_behind(tmp_path: Path) -> None:
    tallies = rounds(tmp_path, kills=5, seed=4)
    assert {kind: tally["kills"] for kind, tally in tallies.items()} == dict.fromkeys(KINDS, 5)
