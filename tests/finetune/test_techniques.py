"""Which parameters each technique trains, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from model.errors import UsageError
from model.finetune import load_method, load_technique, technique_names
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from tests.tiny import run, tiny_networks, tiny_trainer

RGB_16 = {"space": "rgb", "resolutions": [4, 8, 16], "weight": 1.0, "reduction": "sum"}
COMPAT = {"freeze_d": -1, "freeze_g": -1, "freeze_style": -1, "structure_loss": -1, "freeze_fc": False}
ADA = {"target": 0.6, "kimg": 0.05, "every": 2, "transforms": "bgc"}
METHODS = {
    "baseline": {"freeze_d": {"train_up_to": 16}, "ada": ADA},
    "freeze_g": {"freeze_d": {"train_up_to": 16}, "freeze_g": {"train_from": 16}, "freeze_mapping": {}},
    "freeze_sg": {"freeze_d": {"train_up_to": 16}, "freeze_g": {"train_from": 16}, "freeze_style": {"coarse_ws": 3}},
    "structure_loss": {"freeze_d": {"train_up_to": 16}, "structure_loss": RGB_16},
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


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("freeze_g", {"train_from": 64}),
        ("freeze_d", {"train_up_to": 5}),
        ("freeze_style", {"coarse_ws": 9}),
        ("structure_loss", {**RGB_16, "resolutions": [4, 64]}),
        ("structure_loss", {**RGB_16, "resolutions": []}),
        ("structure_loss", {**RGB_16, "resolutions": [8, 8]}),
        ("structure_loss", {**RGB_16, "weight": -1.0}),
        ("ada", {"target": 2.0, "kimg": 1.0, "every": 4, "transforms": "bgc"}),
        ("ada", {"target": 0.6, "kimg": 0.0, "every": 4, "transforms": "bgc"}),
        ("ada", {"target": 0.6, "kimg": 1.0, "every": 4, "transforms": []}),
        ("augment", {"p": 1.1, "transforms": "bgc"}),
        ("augment", {"p": 0.2, "transforms": []}),
        ("compat", {**COMPAT, "freeze_d": 5}),
        ("compat", {**COMPAT, "freeze_g": 4}),
        ("compat", {**COMPAT, "freeze_style": 9}),
        ("compat", {**COMPAT, "structure_loss": -2}),
        ("compat", {**COMPAT, "freeze_style": 4, "freeze_fc": True}),
    ],
)
def test_a_setting_that_does_not_fit_the_networks_is_refused_before_training(
    name: str, settings: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=name):
        tiny_trainer([load_technique(name, settings)])


def test_technique_names_are_the_files_of_the_folder() -> None:
    assert technique_names() == [
        "ada", "augment", "compat", "freeze_d", "freeze_g", "freeze_mapping", "freeze_style", "structure_loss",
    ]  # fmt: skip


def test_networks_keep_the_source_apart_from_what_trains() -> None:
    nets = tiny_networks()
    assert nets.source is not None
    with torch.no_grad():
        nets.generator.synthesis.const.add_(1)
    assert not torch.equal(nets.source.synthesis.const, nets.generator.synthesis.const)
    assert not torch.equal(nets.ema.synthesis.const, nets.generator.synthesis.const)
