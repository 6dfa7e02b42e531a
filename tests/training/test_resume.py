"""A training that is stopped, however rudely, and started again ends bit for bit where an uninterrupted one ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model.errors import UsageError
from model.finetune import load_method
from model.training.state import load_state, save_state
from model.training.trainer import Trainer
from tests.finetune.test_techniques import METHODS
from tests.tiny import run, tiny_trainer

ROOT = Path(__file__).resolve().parents[2]
METHOD = {**METHODS["structure_loss"], "ada": {"target": 0.1, "kimg": 0.05, "every": 2, "transforms": "bgc"}}
IDENTITY = {"seed": 0, "data": "x"}


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return every tensor a training carries."""
    nets = trainer.nets
    found = {
        f"{n}.{k}": v for n in ("generator", "discriminator", "ema") for k, v in getattr(nets, n).state_dict().items()
    }
    for name, optimizer in (("g", trainer.g_optimizer), ("d", trainer.d_optimizer)):
        for index, entry in optimizer.state_dict()["state"].items():
            found |= {f"{name}.{index}.{k}": v for k, v in entry.items()}
    assert trainer.ada is not None
    return found | {"path": trainer.mean_path, "p": torch.tensor(trainer.ada.p)}


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert [name for name, value in one.items() if not torch.equal(value, two[name])] == []


def stopped(trainer: Trainer, after: int) -> None:
    """Ask the trainer to stop after so many batches, as a signal does."""
    step = trainer.step

    def counted() -> None:
        step()
        trainer.stop = trainer.iteration == after

    trainer.step = counted  # type: ignore[method-assign]
    assert all(report.kimg > 0 for report in trainer)
    assert trainer.iteration == after


@pytest.mark.parametrize("stop_after", [1, 5, 8])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    whole = tiny_trainer(load_method(METHOD))
    reports = list(whole)
    first = tiny_trainer(load_method(METHOD))
    stopped(first, stop_after)
    save_state(tmp_path, first, IDENTITY, {"rows": [1]})
    second = tiny_trainer(load_method(METHOD), seed=0)
    assert load_state(tmp_path, second, IDENTITY) == {"rows": [1]}
    seen = list(second)
    assert second.iteration == whole.iteration
    assert_equal(everything(whole), everything(second))
    last, again = reports[-1], seen[-1]
    assert (last.d_loss, last.g_loss, last.technique_loss) == (again.d_loss, again.g_loss, again.technique_loss)


def test_a_damaged_state_is_passed_over_for_the_one_before_it(tmp_path: Path) -> None:
    trainer = tiny_trainer(load_method(METHOD))
    for _ in range(3):
        trainer.step()
        save_state(tmp_path, trainer, IDENTITY, {"at": trainer.iteration})
    states = sorted(tmp_path.glob("state-*"))
    assert [int(s.name[-9:]) for s in states] == [2, 3]
    data = states[-1] / "tensors.safetensors"
    content = bytearray(data.read_bytes())
    content[-5] ^= 1
    data.write_bytes(content)
    assert load_state(tmp_path, tiny_trainer(load_method(METHOD)), IDENTITY) == {"at": 2}


def test_a_state_of_another_training_is_refused_with_the_difference(tmp_path: Path) -> None:
    trainer = tiny_trainer(load_method(METHOD))
    save_state(tmp_path, trainer, IDENTITY, {})
    with pytest.raises(UsageError, match=r"data: 'x' then, 'y' now"):
        load_state(tmp_path, trainer, {**IDENTITY, "data": "y"})


def test_no_state_means_a_fresh_start(tmp_path: Path) -> None:
    assert load_state(tmp_path, tiny_trainer(load_method(METHOD)), IDENTITY) is None


def test_the_state_holds_no_random_generator_because_draws_are_counted(tmp_path: Path) -> None:
    trainer = run(tiny_trainer(load_method(METHOD)))
    folder = save_state(tmp_path, trainer, IDENTITY, {})
    assert set(json.loads((folder / "state.json").read_text())["scalars"]) == {
        "iteration", "counts", "ada", "rollbacks", "cool_until",
    }  # fmt: skip
