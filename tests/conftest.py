"""Shared fixtures: tiny seeded networks and images, one thread, everything on the CPU."""

from __future__ import annotations

import os
from itertools import zip_longest
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
    """Skip what the machine has no input or device for, with the reason; begin with what takes longest."""
    _longest_first(items)
    if os.environ.get("CARTOON_REAL_DATA"):
        return
    absent = pytest.mark.skip(reason="CARTOON_REAL_DATA names no folder of real images")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(absent)


def _longest_first(items: list[pytest.Item]) -> None:
    """Put slow modules before quick ones, which fill every gap at the end.

    Those with servers mostly wait and the other slow ones mostly compute, so they alternate.
    """
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)

    def marked(mark: str) -> list[str]:
        return [name for name, inside in modules.items() if any(mark in item.keywords for item in inside)]

    waiting = marked("orchestration")
    computing = [name for name in marked("slow") if name not in waiting]
    alternating = [name for pair in zip_longest(waiting, computing) for name in pair if name]
    items[:] = [item for name in dict.fromkeys([*alternating, *modules]) for item in modules[name]]
