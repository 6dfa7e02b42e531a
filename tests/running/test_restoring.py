"""What the cache has is taken, what it has not is named, whatever else goes wrong."""

from __future__ import annotations

import shutil

import pytest

from pipeline.graph import CutOffError
from pipeline.running import restoring
from pipeline.running.restoring import NotReproducedError, restore
from tests.running.toys import Toy

pytestmark = pytest.mark.slow


def test_what_the_cache_has_is_taken_and_nothing_is_executed(toy: Toy) -> None:
    toy.stages(a="in:", b="a:", c="b:")
    toy.run("a", "b")
    for name in ("dvc.lock", "a.txt", "b.txt"):
        (toy.root / name).unlink()
    assert restore(toy.root, "dvc.yaml", ["dvc.yaml"]) == ["c"]
    assert (toy.root / "b.txt").exists()
    assert toy.executed() == ["a", "b"]


def test_a_stage_that_lacks_an_input_is_out_of_date_as_others_are(toy: Toy) -> None:
    toy.stages(a="in:", b="nowhere:", c="b:")
    assert restore(toy.root, "dvc.yaml", ["dvc.yaml"]) == ["a", "b"]


def test_a_killed_dvc_has_not_told_what_is_missing(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.stages(a="in:")
    monkeypatch.setattr(restoring, "dvc_command", lambda *_: ["sh", "-c", "kill -9 $$"])
    with pytest.raises(CutOffError, match=r"ended by SIGKILL in .*; nothing is lost, the same command") as caught:
        restore(toy.root, "dvc.yaml", ["dvc.yaml"])
    assert caught.value.exit_code == 75


def test_a_pipeline_that_dvc_cannot_read_is_an_error(toy: Toy) -> None:
    toy.stages(a="in:")
    shutil.copy(toy.root / "in", toy.root / "dvc.yaml")
    with pytest.raises(NotReproducedError, match=r"`dvc repro` failed in .*dvc\.yaml"):
        restore(toy.root, "dvc.yaml", ["dvc.yaml"])
