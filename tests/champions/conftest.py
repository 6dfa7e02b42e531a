"""A project with an MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.champions.registered import make_project


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return make_project(tmp_path, empty_store)
