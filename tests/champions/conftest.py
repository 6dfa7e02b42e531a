"""A project with an MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.champions.registered import make_project


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tables exist; making them takes seconds."""
    root = tmp_path_factory.mktemp("store")
    MlflowClient(f"sqlite:///{root}/mlflow.db").search_experiments()
    return root / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return make_project(tmp_path, empty_store)
