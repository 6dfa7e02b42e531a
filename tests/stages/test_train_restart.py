"""What a training publishes does not depend on where it was stopped, or on what the stop left lying around."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from model.errors import InterruptedRun
from model.files import verify_manifest
from model.training.trainer import Trainer
from stages.session import _due
from stages.train import train
from tests.stages.training import TRAIN, Setup, new_run

pytestmark = pytest.mark.slow


def run_train(setup: Setup) -> dict[str, Any]:
    train(**setup.arguments(), run=new_run(setup.folder))  # type: ignore[arg-type]
    files: dict[str, Any] = verify_manifest(setup.out)["files"]
    return files


def stop_after(iteration: int, patch: pytest.MonkeyPatch) -> None:
    """Ask the trainer to stop after this iteration, as SIGTERM does."""
    step = Trainer.step

    def stopping(trainer: Trainer) -> None:
        step(trainer)
        trainer.stop = trainer.iteration == iteration

    patch.setattr(Trainer, "step", stopping)


@pytest.mark.parametrize("iteration", [1, 2, 3, 5, 7])
def test_samples_are_those_of_an_undisturbed_run_wherever_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iteration: int
) -> None:
    setup = Setup(tmp_path, train={**TRAIN, "sample_kimg": 0.016, "state_kimg": 5.0})
    whole = run_train(setup)
    shutil.rmtree(setup.out)
    with monkeypatch.context() as patch:
        stop_after(iteration, patch)
        with pytest.raises(InterruptedRun):
            run_train(setup)
    assert run_train(setup) == whole


def test_a_sample_sheet_that_a_kill_cut_off_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(tmp_path)
    whole = run_train(setup)
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(InterruptedRun):
            run_train(setup)
    (setup.scratch / "samples" / ".00000016.png.abcdefgh.tmp").write_bytes(b"half")
    assert run_train(setup) == whole


@pytest.mark.parametrize("files", [1, 3, 5])
def test_a_kill_while_the_scratch_folder_is_deleted_costs_no_sample_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    setup = Setup(tmp_path)
    whole, remove = run_train(setup), shutil.rmtree

    def killed_on_the_way(folder: Path, **options: bool) -> None:
        if "scratch" not in Path(folder).name:
            remove(folder, **options)
            return
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file())[:files]:
            path.unlink()
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", killed_on_the_way)
            with pytest.raises(KeyboardInterrupt):
                run_train(setup)
        shutil.move(setup.out, tmp_path / "aside")  # DVC deletes the outputs of a stage that it runs again
        assert run_train(setup) == whole
        shutil.rmtree(tmp_path / "aside")
    assert not list(tmp_path.glob(".scratch.*"))


def test_a_state_is_due_after_exactly_so_many_images_whatever_kimg_is_as_a_float() -> None:
    assert 0.076 - 0.068 < 0.008
    for images in range(4, 4000, 4):
        assert _due((images + 8) / 1000, images / 1000, 0.008)
        assert not _due((images + 4) / 1000, images / 1000, 0.008)
