"""The published script's behaviour where it differs from the paper, each difference as a test of ``compat``."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.errors import UsageError
from model.finetune import load_technique
from model.finetune.technique import GeneratorPass, Networks, styled_ws
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.training.trainer import Trainer
from tests.finetune.test_techniques import COMPAT, full_networks
from tests.tiny import CONFIG, run, tiny_trainer

NUM_WS = 8  # of the tiny networks


def trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def compat_trainer(mixing_prob: float = 1.0, **flags: Any) -> Trainer:
    """Return a trainer whose target's mapping network and constant have moved away from the source's."""
    config = dataclasses.replace(CONFIG, mixing_prob=mixing_prob)
    trainer = tiny_trainer([load_technique("compat", {**COMPAT, **flags})], config)
    with torch.no_grad():
        trainer.nets.generator.mapping.layers[0].weight.mul_(-1)
    return trainer


def passes(trainer: Trainer, purpose: str) -> list[GeneratorPass]:
    found = []
    for trainer.iteration in range(6):
        found.append(trainer.make_pass(trainer.draw(purpose, 4)))
    return found


def rows(ws: Tensor, code: Tensor) -> list[bool]:
    """Say for every row whether it is this code."""
    return [torch.equal(ws[:, row], code) for row in range(ws.shape[1])]


@lru_cache(maxsize=1)
def config_f() -> Networks:
    """Networks as large as the published 256 px models."""
    generator = Generator(GeneratorConfig(256, 512, 512, 8, 32768, 512))
    discriminator = Discriminator(DiscriminatorConfig(256, 32768, 512))
    return Networks(None, generator, discriminator, generator)


@pytest.mark.parametrize(
    ("flags", "generator", "discriminator"),
    [
        ({}, 30_034_338, 28_864_129),
        ({"freeze_g": 0, "freeze_d": 0}, 30_034_338, 28_864_129),
        ({"freeze_g": 1, "freeze_d": 1}, 705_669, 11_541_505),
        ({"freeze_g": 2, "freeze_d": 2}, 3_001_738, 16_523_265),
        ({"freeze_g": 3, "freeze_d": 3}, 8_510_863, 21_505_025),
        ({"freeze_g": 4, "freeze_d": 4}, 14_019_988, 26_486_785),
        ({"freeze_g": 5}, 19_529_113, 28_864_129),
        ({"freeze_g": 6}, 25_038_238, 28_864_129),
    ],
)
def test_the_counts_train_as_many_parameters_as_in_the_published_script(
    flags: dict[str, int], generator: int, discriminator: int
) -> None:
    nets = config_f()
    nets.generator.requires_grad_(True)
    nets.discriminator.requires_grad_(True)
    load_technique("compat", {**COMPAT, **flags}).freeze(nets)
    assert (trained(nets.generator), trained(nets.discriminator)) == (generator, discriminator)


def test_a_count_for_the_generator_freezes_the_mapping_network_and_three_blocks_not_the_papers_two() -> None:
    nets = full_networks(256)
    load_technique("compat", {**COMPAT, "freeze_g": 4}).freeze(nets)
    blocks = nets.generator.synthesis.blocks
    assert {r for r, block in blocks.items() if trained(block)} == {"32", "64", "128", "256"}
    assert trained(nets.generator.mapping) == 0
    assert not nets.generator.synthesis.const.requires_grad


def test_from_rgb_trains_only_when_every_block_does() -> None:
    for count, trains in ((5, False), (6, False), (7, True)):
        nets = full_networks(256)
        load_technique("compat", {**COMPAT, "freeze_d": count}).freeze(nets)
        assert (trained(nets.discriminator.from_rgb) > 0) == trains


@pytest.mark.parametrize(("freeze_g", "runs"), [(-1, True), (0, False), (2, False)])
def test_path_length_regularisation_is_off_as_soon_as_the_flag_is_given(freeze_g: int, runs: bool) -> None:
    trainer = compat_trainer(freeze_g=freeze_g)
    trainer.step()
    assert (trainer.mean_path.item() > 0) == runs


@pytest.mark.parametrize("purpose", ["d", "g"])
def test_freeze_style_replaces_rows_and_unmixes_the_others_in_batches_of_two_codes(purpose: str) -> None:
    seen = set()
    for step in passes(compat_trainer(freeze_style=3), purpose):
        first, second = step.codes.target
        assert rows(step.ws, first) == [False] * 3 + [True] * (NUM_WS - 3)
        assert not any(rows(step.ws, second))
        for row in range(3):
            seen |= {code for code in (0, 1) if torch.equal(step.ws[:, row], step.codes.source[code])}
    assert seen == {0, 1}  # the source's rows are mixed, at a crossover of its own


@pytest.mark.parametrize("purpose", ["d", "g"])
def test_freeze_style_does_nothing_in_batches_of_one_code(purpose: str) -> None:
    for step in passes(compat_trainer(mixing_prob=0.0, freeze_style=3), purpose):
        assert rows(step.ws, step.codes.target[0]) == [True] * NUM_WS


def test_freeze_style_and_freeze_fc_do_nothing_in_path_length_regularisation_and_in_use() -> None:
    for flags in ({"freeze_style": 3}, {"freeze_fc": True}):
        trainer = compat_trainer(**flags)
        for step in passes(trainer, "path"):
            assert torch.equal(step.ws, step.codes.ws)
        nets, z = trainer.nets, torch.randn(2, 8)
        wanted = nets.generator.broadcast(nets.generator.mapping(z))
        assert torch.equal(styled_ws(trainer.techniques, nets.generator, nets.source, z), wanted)


def test_freeze_fc_takes_all_rows_from_the_source_in_the_step_of_d_alone_and_the_mapping_network_trains() -> None:
    trainer = compat_trainer(freeze_fc=True)
    for step in passes(trainer, "d"):
        found = [rows(step.ws, code) for code in step.codes.source]
        assert [a or b for a, b in zip(*found, strict=True)] == [True] * NUM_WS
    for step in passes(trainer, "g"):
        assert torch.equal(step.ws, step.codes.ws)
    single = compat_trainer(mixing_prob=0.0, freeze_fc=True)
    assert torch.equal(single.make_pass(single.draw("d", 4)).ws, single.make_pass(single.draw("d", 4)).codes.ws)
    before = {k: v.clone() for k, v in trainer.nets.generator.mapping.state_dict().items()}
    run(trainer)
    assert all(not torch.equal(v, before[k]) for k, v in trainer.nets.generator.mapping.state_dict().items())


@pytest.mark.parametrize(("layers", "features"), [(1, {8}), (2, {8, 16}), (3, {8, 16, 32})])
def test_structure_loss_compares_features_from_8_px_up_and_no_rgb(layers: int, features: set[int]) -> None:
    trainer = compat_trainer(structure_loss=layers)
    step = trainer.make_pass(trainer.draw("g", 4))
    loss = trainer.techniques[0].generator_loss(trainer.nets, step)
    assert loss is not None
    loss.backward()  # type: ignore[no-untyped-call]
    blocks = trainer.nets.generator.synthesis.blocks
    reached = {int(r) for r, block in blocks.items() if block.conv1.weight.grad is not None}
    assert reached == {4, *features}
    assert all(block.to_rgb.weight.grad is None for block in blocks.values())
    assert all(p.grad is None for p in (trainer.nets.source or trainer.nets.ema).parameters())


def test_structure_loss_is_the_unweighted_sum_of_its_layers() -> None:
    def loss(layers: int) -> float:
        trainer = compat_trainer(structure_loss=layers)
        found = trainer.techniques[0].generator_loss(trainer.nets, trainer.make_pass(trainer.draw("g", 4)))
        assert found is not None
        return found.item()

    trainer = compat_trainer(structure_loss=1)
    source, codes = trainer.nets.source, trainer.make_pass(trainer.draw("g", 4)).codes
    assert source is not None
    maps = []
    for net, used in ((source, codes.source), (trainer.nets.generator, codes.target)):
        crossover = int(torch.randint(1, NUM_WS, (), generator=codes.random))
        noise = net.synthesis.random_noise(4, codes.random)
        maps.append(next(o for o in net.synthesis.walk(codes.mix(used, crossover), noise) if o.resolution == 8))
    assert loss(1) == pytest.approx(((maps[0].features - maps[1].features) ** 2).mean().item(), rel=1e-5)
    assert loss(1) < loss(2) < loss(3)


def test_structure_loss_is_not_zero_between_equal_networks_because_each_side_draws_noise_and_crossover() -> None:
    trainer = tiny_trainer([load_technique("compat", {**COMPAT, "structure_loss": 3})])
    loss = trainer.techniques[0].generator_loss(trainer.nets, trainer.make_pass(trainer.draw("g", 4)))
    assert loss is not None
    assert loss.item() > 0.01


def test_the_source_is_the_loaded_one_and_a_random_one_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError, match=r"compat\.source: unknown setting"):
        load_technique("compat", {**COMPAT, "source": "random"})
    trainer = compat_trainer(structure_loss=1)
    trainer.nets = Networks.from_scratch(trainer.nets.generator, trainer.nets.discriminator)
    with pytest.raises(UsageError, match="compares with the source generator"):
        trainer.step()
