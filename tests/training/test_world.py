"""Several processes train as one would: real processes and real messages (gloo), on the CPU."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from model.finetune import load_method
from model.training.state import load_state, save_state
from model.training.trainer import Trainer
from model.training.world import World
from tests.finetune.test_techniques import METHODS
from tests.tiny import CONFIG, tiny_images, tiny_networks

METHOD = {**METHODS["freeze_sg"], **METHODS["structure_loss"], **METHODS["baseline"]}
EIGHT = dataclasses.replace(CONFIG, batch=8, kimg=0.064, r1_every=2, tick_kimg=0.032)
IDENTITY = {"data": "x"}


def trainer_of(world: World) -> Trainer:
    nets = tiny_networks()
    for net in (nets.source, nets.generator, nets.discriminator, nets.ema):
        assert net is not None
        net.double()
    trainer = Trainer(nets, tiny_images(16), EIGHT, load_method(METHOD), 0, world)
    assert trainer.ada is not None
    trainer.ada.p = 0.4
    return trainer


def work(rank: int, size: int, folder: Path, resume: bool) -> None:
    """Train to the end in one of ``size`` processes, saving in the middle of a tick; the first writes what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{size}-{resume}", rank=rank, world_size=size)
    trainer = trainer_of(World(rank, size))
    if resume:
        assert load_state(folder / "state", trainer, IDENTITY) is not None
    else:
        for _ in range(3):
            trainer.step()
        save_state(folder / "state", trainer, IDENTITY, {})
    reports = list(trainer)
    if rank == 0:
        nets = {name: getattr(trainer.nets, name).state_dict() for name in ("generator", "discriminator", "ema")}
        torch.save(
            {"nets": nets, "report": dataclasses.asdict(reports[-1]), "reports": len(reports)}, folder / "out.pt"
        )
    dist.destroy_process_group()


def result_of(size: int, folder: Path, resume: bool = False) -> dict[str, object]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, size, folder, resume)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    found: dict[str, object] = torch.load(folder / "out.pt", weights_only=True)
    return found


def assert_same(one: dict[str, object], two: dict[str, object]) -> None:
    for name, value in one["report"].items():  # type: ignore[attr-defined]
        if name != "seconds_per_kimg":
            assert value == pytest.approx(two["report"][name], rel=1e-9), name  # type: ignore[index]
    for net, state in one["nets"].items():  # type: ignore[attr-defined]
        for key, value in state.items():
            other = two["nets"][net][key]  # type: ignore[index]
            assert torch.allclose(value, other, rtol=1e-7, atol=1e-9), f"{net}.{key}"


def alone() -> dict[str, object]:
    trainer = trainer_of(World())
    reports = list(trainer)
    nets = {name: getattr(trainer.nets, name).state_dict() for name in ("generator", "discriminator", "ema")}
    return {"nets": nets, "report": dataclasses.asdict(reports[-1]), "reports": len(reports)}


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_either_number_continues_the_other(tmp_path: Path) -> None:
    """Frozen layers, statistics of the discriminator's groups, augmentation and its controller included."""
    whole = alone()
    together = result_of(2, tmp_path)
    assert together["reports"] == whole["reports"] == 2
    assert_same(whole, together)
    continued = trainer_of(World())  # alone, from the state that two processes saved in the middle of a tick
    assert load_state(tmp_path / "state", continued, IDENTITY) is not None
    report = list(continued)[-1]
    nets = {name: getattr(continued.nets, name).state_dict() for name in ("generator", "discriminator", "ema")}
    assert_same(whole, {"nets": nets, "report": dataclasses.asdict(report)})
    first = trainer_of(World())
    for _ in range(2):
        first.step()
    save_state(tmp_path / "again" / "state", first, IDENTITY, {})
    assert_same(whole, result_of(2, tmp_path / "again", resume=True))


def test_a_process_alone_sums_nothing() -> None:
    world, value = World(), torch.ones(3)
    assert world.sum(value) is value
    assert world.any(True, torch.device("cpu"))
    assert not world.any(False, torch.device("cpu"))
