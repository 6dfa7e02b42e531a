from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.world import Bench, faces_on_paper


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench with the gathered dataset `mine`: four pages of two faces."""
    made = Bench(tmp_path)
    made.folder_dataset("mine", faces_on_paper(tmp_path / "in", 4))
    made.crawl("mine")
    return made
