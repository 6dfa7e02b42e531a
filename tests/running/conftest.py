from pathlib import Path

import pytest

from tests.running.toys import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """An empty DVC project in a git repository; tests write its dvc.yaml."""
    return Toy.make(tmp_path / "project")
