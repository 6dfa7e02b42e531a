"""What every technique and every method of every profile promises, after real training steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import UsageError
from model.finetune import load_method, technique_names
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.training.trainer import Trainer
from pipeline.params import read_params
from tests.finetune.test_techniques import ADA, COMPAT, METHODS, RGB_16
from tests.tiny import CONFIG, run, tiny_images

ROOT = Path(__file__).resolve().parents[2]
Method = dict[str, dict[str, Any]]
TECHNIQUES: dict[str, dict[str, Any]] = {
    "ada": ADA,
    "augment": {"p": 0.5, "transforms": "bgc"},
    "compat": {"freeze_d": 2, "freeze_g": 2, "freeze_style": 3, "structure_loss": 2, "freeze_fc": False},
    "freeze_d": {"train_up_to": 16},
    "freeze_g": {"train_from": 16},
    "freeze_mapping": {},
    "freeze_style": {"coarse_ws": 3},
    "structure_loss": {**RGB_16, "space": "feature", "reduction": "mean"},
}


def methods() -> dict[str, tuple[int, Method]]:
    """Return every technique alone, the methods of these tests and those of every profile, with a size in px."""
    found: dict[str, tuple[int, Method]] = {name: (32, {name: settings}) for name, settings in TECHNIQUES.items()}
    found |= {f"tests/{name}": (32, method) for name, method in METHODS.items()}
    found["tests/compat_fc"] = (32, {"compat": {**COMPAT, "freeze_fc": True, "structure_loss": 1}})
    for path in sorted([ROOT / "params.yaml", *ROOT.glob("profiles/*/params.yaml")]):
        params = read_params(path)
        for name, method in params.get("methods", {}).items():
            found[f"{params['profile']}/{name}"] = (min(128, params["pretrained"]["resolution"]), method)
    return found


def trainer_of(resolution: int, method: Method) -> Trainer:
    """Return a trainer of networks with few channels; every buffer differs from its default."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(resolution, 8, 8, 2, channel_base=4 * resolution, channel_max=8))
    for conv in generator.synthesis.convs():
        torch.nn.init.normal_(conv.noise_strength, std=0.1)
        torch.nn.init.normal_(conv.bias, std=0.1)
    torch.nn.init.normal_(generator.w_avg)
    nets = Networks.from_source(generator, Discriminator(DiscriminatorConfig(resolution, 4 * resolution, 8)))
    config = dataclasses.replace(CONFIG, kimg=0.024)
    return Trainer(nets, tiny_images(resolution=resolution), config, load_method(method), seed=0)


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("name", methods())
def test_frozen_tensors_and_buffers_stay_bit_identical_and_all_others_move(name: str) -> None:
    trainer = trainer_of(*methods()[name])
    nets = trainer.nets
    assert nets.source is not None
    before, judge = snapshot(nets.source), snapshot(nets.discriminator)
    moving = {n for n, p in nets.generator.named_parameters() if p.requires_grad}
    judging = {n for n, p in nets.discriminator.named_parameters() if p.requires_grad}
    run(trainer)
    assert {n for n, v in nets.generator.state_dict().items() if not torch.equal(v, before[n])} == moving
    assert {n for n, v in nets.ema.state_dict().items() if not torch.equal(v, before[n])} == moving
    assert {n for n, v in nets.discriminator.state_dict().items() if not torch.equal(v, judge[n])} == judging
    assert {"w_avg", "synthesis.blocks.4.conv1.noise_const"} < set(before)  # buffers are among what is compared
    assert all(torch.equal(v, before[n]) for n, v in nets.source.state_dict().items())
    assert all(not p.requires_grad and p.grad is None for p in nets.source.parameters())


@pytest.mark.parametrize("name", methods())
def test_path_length_regularisation_runs_in_every_method_but_the_published_flags(name: str) -> None:
    resolution, method = methods()[name]
    trainer = trainer_of(resolution, method)
    trainer.step()
    assert (trainer.mean_path.item() > 0) == (method.get("compat", {}).get("freeze_g", -1) < 0)


@pytest.mark.parametrize("name", [name for name, (_, method) in methods().items() if "structure_loss" in method])
def test_structure_loss_is_exactly_zero_before_the_first_step(name: str) -> None:
    trainer = trainer_of(*methods()[name])
    step = trainer.make_pass(trainer.draw("g", 4))
    trainer.render(step)
    losses = [technique.generator_loss(trainer.nets, step) for technique in trainer.techniques]
    assert [loss.item() for loss in losses if loss is not None] == [0.0]


def test_every_technique_there_is_is_among_them() -> None:
    assert sorted(TECHNIQUES) == technique_names()


def test_two_techniques_that_set_the_probability_of_augmentation_are_refused() -> None:
    with pytest.raises(UsageError, match="found ada and augment in one method"):
        trainer_of(32, {"ada": ADA, "augment": TECHNIQUES["augment"]})
