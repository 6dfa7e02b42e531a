"""Shared fixtures: tiny seeded networks and images, one thread, everything on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pipeline import params
from tests.browser import chromium as chromium  # one for the session: Playwright runs once in a process

torch.set_num_threads(1)  # bit-equality needs one thread, and two threads of a busy machine wait for each other


@pytest.fixture(autouse=True)
def _quiet_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's settings and from every telemetry."""
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "1",
        "CARTOON_TRACKING": "journal",  # no helper process that mirrors records to MLflow
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _fresh_process_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which params sections other tests have read: a stage runs in a process of its own."""
    monkeypatch.setattr(params, "_used", {})


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file, empty, for copying: making its tables takes seconds."""
    from tests.mortal import make_store  # MLflow takes seconds to import as well

    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images named by CARTOON_REAL_DATA; its tests have the mark of the same name."""
    path = Path(os.environ["CARTOON_REAL_DATA"])
    assert path.is_dir(), f"CARTOON_REAL_DATA: {path} is no folder"
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the machine has no input or device for; the reason is printed."""
    if os.environ.get("CARTOON_REAL_DATA"):
        return
    absent = pytest.mark.skip(reason="CARTOON_REAL_DATA names no folder of real images")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(absent)
