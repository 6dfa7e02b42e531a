"""The six defects of the published training script, each as a test that it is not ours."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.blend.kinds import Side
from model.blend.sweep import inject_features
from model.blend.weights import swap_layers
from model.finetune import load_method, load_technique
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from tests.finetune.test_techniques import METHODS
from tests.tiny import CONFIG, tiny_generator, tiny_trainer


def test_defect_1_the_source_is_the_loaded_generator_and_not_a_random_one() -> None:
    trainer = tiny_trainer(load_method(METHODS["structure_loss"]))
    source, generator = trainer.nets.source, trainer.nets.generator
    assert source is not None
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), generator.state_dict().values(), strict=True)
    )
    step = trainer.make_pass(trainer.draw("g", 4))
    assert torch.equal(step.ws.detach(), step.source_ws)
    trainer.render(step)
    losses = [t.generator_loss(trainer.nets, step) for t in trainer.techniques]
    assert [loss.item() for loss in losses if loss is not None] == [0.0]


@pytest.mark.parametrize("mixing_prob", [0.0, 1.0])
@pytest.mark.parametrize("purpose", ["d", "g", "path"])
def test_defect_2_freeze_style_acts_on_every_batch_whether_styles_are_mixed_or_not(
    mixing_prob: float, purpose: str
) -> None:
    config = dataclasses.replace(CONFIG, mixing_prob=mixing_prob)
    trainer = tiny_trainer([load_technique("freeze_style", {"coarse_ws": 3})], config)
    with torch.no_grad():
        trainer.nets.generator.mapping.layers[0].weight.mul_(-1)  # a mapping network that has moved
    for trainer.iteration in range(4):
        step = trainer.make_pass(trainer.draw(purpose, 4))
        assert torch.equal(step.ws[:, :3], step.source_ws[:, :3])
        assert not torch.equal(step.ws[:, 3:], step.source_ws[:, 3:])


def test_defect_3_freeze_settings_name_the_blocks_that_train_and_leave_the_mapping_network_alone() -> None:
    config = GeneratorConfig(256, 8, 8, 2, channel_base=2048, channel_max=8)
    nets = Networks.from_source(Generator(config), Discriminator(DiscriminatorConfig(256, 2048, 8)))
    load_technique("freeze_g", {"train_from": 64}).freeze(nets)
    load_technique("freeze_d", {"train_up_to": 64}).freeze(nets)
    trains = {
        r for r in config.resolutions if all(p.requires_grad for p in nets.generator.synthesis.block(r).parameters())
    }
    assert trains == {64, 128, 256}
    assert all(p.requires_grad for p in nets.generator.mapping.parameters())
    judges = {int(n) for n, b in nets.discriminator.blocks.items() if all(p.requires_grad for p in b.parameters())}
    assert judges == {8, 16, 32, 64}


def test_defect_4_a_freeze_rule_matches_whole_names_not_parts_of_them() -> None:
    """The published rule matched substrings: "convs.1" also hit "convs.10". Here block 4 never means 64, nor 16 160."""
    config = GeneratorConfig(1024, 8, 8, 2, channel_base=8192, channel_max=8)
    nets = Networks.from_source(Generator(config), Discriminator(DiscriminatorConfig(1024, 8192, 8)))
    load_technique("freeze_g", {"train_from": 8}).freeze(nets)
    frozen = {
        r
        for r in config.resolutions
        if not any(p.requires_grad for p in nets.generator.synthesis.block(r).parameters())
    }
    assert frozen == {4}


def test_defect_5_swapping_layers_exchanges_weights_and_injecting_features_exchanges_none() -> None:
    source, target = tiny_generator(0), tiny_generator(1)
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in (source, target)]
    blended = swap_layers(source, target, at=8)
    for name, value in blended.state_dict().items():
        block = int(name.split(".")[2]) if name.startswith("synthesis.blocks") else 4
        parent = before[0] if block <= 8 else before[1]
        assert torch.equal(value, parent[name]), name
    ws = source.broadcast(source.mapping(torch.randn(2, 8)))
    with torch.no_grad():
        styles: dict[Side, torch.Tensor] = {"source": ws, "target": ws}
        inject_features(source, target, styles, source.synthesis.const_noise(), at=8, rgb_skip="source")
    for net, state in zip((source, target), before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_defect_6_path_length_regularisation_runs_for_every_method_unless_its_weight_is_0(method: str) -> None:
    for weight in (2.0, 0.0):
        trainer = tiny_trainer(load_method(METHODS[method]), dataclasses.replace(CONFIG, path_weight=weight))
        trainer.step()
        assert (trainer.mean_path.item() > 0) == (weight > 0)
