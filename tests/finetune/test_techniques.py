"""Which parameters each technique trains, and that frozen ones do not move by a bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.errors import UsageError
from model.finetune import load_method, load_technique, technique_names
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from pipeline.params import read_params
from tests.tiny import run, tiny_networks, tiny_trainer

ROOT = Path(__file__).resolve().parents[2]
METHODS = {
    "baseline": {"freeze_d": {"train_up_to": 16}, "ada": {"target": 0.6, "kimg": 0.05, "every": 2}},
    "freeze_g": {"freeze_d": {"train_up_to": 16}, "freeze_g": {"train_from": 16}, "freeze_mapping": {}},
    "freeze_sg": {"freeze_d": {"train_up_to": 16}, "freeze_g": {"train_from": 16}, "freeze_style": {"coarse_ws": 3}},
    "structure_loss": {"freeze_d": {"train_up_to": 16}, "structure_loss": {"up_to": 16, "weight": 1.0}},
}


def full_networks(resolution: int) -> Networks:
    config = GeneratorConfig(resolution, 8, 8, 2, channel_base=8 * resolution, channel_max=8)
    return Networks.from_source(Generator(config), Discriminator(DiscriminatorConfig(resolution, 8 * resolution, 8)))


def trainable(module: torch.nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("resolution", [256, 1024])
def test_freeze_g_trains_exactly_the_blocks_from_32_px_up(resolution: int) -> None:
    nets = full_networks(resolution)
    load_technique("freeze_g", {"train_from": 32}).freeze(nets)
    blocks = {name.split(".")[2] for name in trainable(nets.generator) if name.startswith("synthesis.blocks")}
    assert blocks == {str(r) for r in nets.generator.config.resolutions if r >= 32}
    assert "synthesis.const" not in trainable(nets.generator)
    every = {n for n, _ in nets.generator.mapping.named_parameters()}
    assert {n.removeprefix("mapping.") for n in trainable(nets.generator) if n.startswith("mapping.")} == every
    assert trainable(nets.discriminator) == {n for n, _ in nets.discriminator.named_parameters()}


@pytest.mark.parametrize("resolution", [256, 1024])
def test_freeze_d_trains_exactly_the_blocks_up_to_32_px_and_the_head(resolution: int) -> None:
    nets = full_networks(resolution)
    load_technique("freeze_d", {"train_up_to": 32}).freeze(nets)
    names = trainable(nets.discriminator)
    assert {n.split(".")[1] for n in names if n.startswith("blocks")} == {"8", "16", "32"}
    assert {n.split(".")[0] for n in names} == {"blocks", "conv", "fc", "out"}
    assert trainable(nets.generator) == {n for n, _ in nets.generator.named_parameters()}


def test_freeze_d_up_to_the_full_size_trains_everything() -> None:
    nets = full_networks(64)
    load_technique("freeze_d", {"train_up_to": 64}).freeze(nets)
    assert trainable(nets.discriminator) == {n for n, _ in nets.discriminator.named_parameters()}


def test_freeze_mapping_freezes_the_mapping_network_alone() -> None:
    nets = full_networks(64)
    load_technique("freeze_mapping", {}).freeze(nets)
    assert trainable(nets.generator) == {
        n for n, _ in nets.generator.named_parameters() if not n.startswith("mapping.")
    }


@pytest.mark.parametrize("method", METHODS)
def test_frozen_tensors_stay_bit_identical_and_the_others_move(method: str) -> None:
    trainer = tiny_trainer(load_method(METHODS[method]))
    nets = trainer.nets
    assert nets.source is not None
    judge = {name: value.clone() for name, value in nets.discriminator.state_dict().items()}
    frozen_d = {n for n, p in nets.discriminator.named_parameters() if not p.requires_grad}
    run(trainer)
    before = nets.source.state_dict()
    moving = trainable(nets.generator)
    for net in (nets.generator, nets.ema):
        for name, value in net.state_dict().items():
            assert torch.equal(value, before[name]) == (name not in moving), name
    for name, value in nets.discriminator.state_dict().items():
        assert torch.equal(value, judge[name]) == (name in frozen_d), name
    assert all(not p.requires_grad and p.grad is None for p in nets.source.parameters())


def test_freeze_g_and_freeze_sg_differ_in_what_they_train_and_in_what_comes_out() -> None:
    methods = {"freeze_g": METHODS["freeze_g"], "freeze_sg": METHODS["freeze_sg"]}
    nets = {name: run(tiny_trainer(load_method(techniques))).nets for name, techniques in methods.items()}
    mapping = {name: net.ema.mapping.state_dict() for name, net in nets.items()}
    source = nets["freeze_g"].source
    assert source is not None
    assert all(torch.equal(v, source.mapping.state_dict()[k]) for k, v in mapping["freeze_g"].items())
    assert any(not torch.equal(v, source.mapping.state_dict()[k]) for k, v in mapping["freeze_sg"].items())
    blocks = [net.ema.synthesis.state_dict() for net in nets.values()]
    assert any(not torch.equal(v, blocks[1][k]) for k, v in blocks[0].items())


def test_structure_loss_of_a_target_equal_to_its_source_is_exactly_zero() -> None:
    technique = load_technique("structure_loss", {"up_to": 16, "weight": 1.0})
    trainer = tiny_trainer([technique])
    step = trainer.make_pass(trainer.draw("g", 4))
    trainer.render(step)
    loss = technique.generator_loss(trainer.nets, step)
    assert loss is not None
    assert loss.item() == 0.0


def test_structure_loss_is_the_summed_mse_of_accumulated_rgb_times_its_weight() -> None:
    technique = load_technique("structure_loss", {"up_to": 16, "weight": 3.0})
    trainer = tiny_trainer([technique])
    with torch.no_grad():
        trainer.nets.generator.synthesis.const.mul_(1.5)
    step = trainer.make_pass(trainer.draw("g", 4))
    trainer.render(step)
    assert trainer.nets.source is not None
    theirs = {o.resolution: o.rgb for o in trainer.nets.source.synthesis.walk(step.source_ws, step.noise)}
    wanted = 3.0 * sum(((step.outputs[r].rgb - theirs[r]) ** 2).mean() for r in (4, 8, 16))
    loss = technique.generator_loss(trainer.nets, step)
    assert loss is not None
    assert loss.item() == pytest.approx(float(wanted), rel=1e-6)
    assert loss.item() > 0


def test_technique_settings_are_checked_by_name() -> None:
    for name, settings, message in [
        ("freze_g", {}, "did you mean 'freeze_g'"),
        ("freeze_g", {}, r"freeze_g\.train_from: missing"),
        ("freeze_g", {"train_from": "32"}, r"freeze_g\.train_from: found '32', expected int"),
        ("freeze_g", {"train_from": 32, "x": 1}, r"freeze_g\.x: unknown setting"),
        ("structure_loss", {"up_to": 16, "weight": True}, "expected float"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_technique(name, settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("freeze_g", {"train_from": 64}),
        ("freeze_d", {"train_up_to": 5}),
        ("freeze_style", {"coarse_ws": 9}),
        ("structure_loss", {"up_to": 64, "weight": 1.0}),
        ("ada", {"target": 2.0, "kimg": 1.0, "every": 4}),
    ],
)
def test_a_setting_that_does_not_fit_the_networks_is_refused_before_training(
    name: str, settings: dict[str, float]
) -> None:
    with pytest.raises(UsageError, match=name):
        tiny_trainer([load_technique(name, settings)])


def test_a_technique_that_needs_a_source_refuses_a_training_from_scratch() -> None:
    trainer = tiny_trainer([load_technique("structure_loss", {"up_to": 16, "weight": 1.0})])
    trainer.nets = Networks.from_scratch(trainer.nets.generator, trainer.nets.discriminator)
    with pytest.raises(UsageError, match="source"):
        trainer.step()


@pytest.mark.parametrize("path", sorted([ROOT / "params.yaml", *ROOT.glob("profiles/*/params.yaml")]), ids=str)
def test_every_method_of_every_profile_can_be_built(path: Path) -> None:
    for name, techniques in read_params(path).get("methods", {}).items():
        assert load_method(techniques), name


def test_technique_names_are_the_files_of_the_folder() -> None:
    assert technique_names() == ["ada", "freeze_d", "freeze_g", "freeze_mapping", "freeze_style", "structure_loss"]


def test_networks_keep_the_source_apart_from_what_trains() -> None:
    nets = tiny_networks()
    assert nets.source is not None
    with torch.no_grad():
        nets.generator.synthesis.const.add_(1)
    assert not torch.equal(nets.source.synthesis.const, nets.generator.synthesis.const)
    assert not torch.equal(nets.ema.synthesis.const, nets.generator.synthesis.const)
