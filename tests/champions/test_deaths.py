"""Hearings that are killed at any call to the store end as if they had not been."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.tracking
import pytest

from pipeline.champions.registry import consider
from tests.champions.contests import write_comparison
from tests.champions.registered import BETTER, aliases, make_project, snapshot
from tests.mortal import Mortal, PowerCut

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[tuple[Path, dict[str, Any], int]]:
    """A store with a champion and a better comparison; what an undisturbed hearing makes of it, in how many calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = make_project(tmp_path_factory.mktemp("promoted"), empty_store)
        consider(root, "demo")
        write_comparison(root, [BETTER])
        kept = tmp_path_factory.mktemp("kept") / "mlflow.db"
        shutil.copyfile(root / "mlruns" / "mlflow.db", kept)
        counted = Mortal(0, carried_out=True)
        patch.setattr(mlflow.tracking, "MlflowClient", counted)
        consider(root, "demo")
        patch.undo()
        yield kept, snapshot(root), counted.calls


def killed_and_repeated(root: Path, promoted: tuple[Path, dict[str, Any], int], last: int, carried_out: bool) -> None:
    kept, expected, _ = promoted
    write_comparison(root, [BETTER])
    shutil.copyfile(kept, root / "mlruns" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.tracking, "MlflowClient", Mortal(last, carried_out))
        with pytest.raises(PowerCut):
            consider(root, "demo")
    consider(root, "demo")
    assert snapshot(root) == expected, f"killed in call {last}, {'after' if carried_out else 'before'} it"
    assert aliases(root) == (2, 1)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75, 0.9, 1.0])
def test_a_hearing_that_was_killed_ends_as_if_it_had_not_been(
    share: float, promoted: tuple[Path, dict[str, Any], int], project: Path
) -> None:
    killed_and_repeated(project, promoted, round(share * promoted[2]), carried_out=False)


@pytest.mark.slow
def test_no_call_to_the_store_is_a_bad_moment_to_be_killed_in(
    promoted: tuple[Path, dict[str, Any], int], project: Path
) -> None:
    for last in range(1, promoted[2] + 1):
        for carried_out in (False, True):
            killed_and_repeated(project, promoted, last, carried_out)
