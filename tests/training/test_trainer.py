"""The loop: what a step does, what it draws, what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.errors import BudgetError, DivergenceError, UsageError
from model.finetune import load_technique
from model.training.randomness import latents, stream
from model.training.trainer import Trainer
from tests.tiny import CONFIG, run, tiny_images, tiny_networks, tiny_trainer


def test_reports_come_once_per_tick_and_end_at_the_total() -> None:
    trainer = tiny_trainer([])
    kimgs = [report.kimg for report in trainer]
    assert kimgs == pytest.approx([0.008, 0.016, 0.024, 0.032, 0.04])
    assert trainer.iteration == trainer.total_iterations == 10


def test_every_image_is_shown_once_per_epoch_in_another_order_each_time() -> None:
    trainer = Trainer(tiny_networks(), tiny_images(12), CONFIG, [], seed=3)
    shown = [number for iteration in range(6) for number in trainer.reals.picks(iteration)]
    assert sorted(shown[:12]) == sorted(shown[12:]) == list(range(12))
    assert shown[:12] != shown[12:]


def test_a_batch_is_a_pure_function_of_the_iteration() -> None:
    one, two = tiny_trainer([]), tiny_trainer([])

    def reals(trainer: Trainer, iteration: int) -> torch.Tensor:
        (images,) = trainer.reals.batch(iteration, trainer.shares, trainer.nets.ema.w_avg)
        return images

    later = [reals(one, i) for i in range(5)][4]
    assert torch.equal(later, reals(two, 4))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights(seed: int) -> torch.Tensor:
        trainer = Trainer(tiny_networks(), tiny_images(), CONFIG, [], seed)
        return run(trainer).nets.ema.synthesis.const.detach()

    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_the_average_follows_the_generator_with_the_given_half_life() -> None:
    config = dataclasses.replace(CONFIG, batch=4, ema_kimg=0.004)  # one batch is one half-life
    trainer = tiny_trainer([], config)
    source = trainer.nets.ema.synthesis.const.clone()
    trainer.step()
    middle = (source + trainer.nets.generator.synthesis.const.detach()) / 2
    assert torch.allclose(trainer.nets.ema.synthesis.const, middle, atol=1e-7)


def test_mixing_takes_the_rows_from_the_crossover_on_from_a_second_code() -> None:
    always = tiny_trainer([], dataclasses.replace(CONFIG, mixing_prob=1.0))
    never = tiny_trainer([], dataclasses.replace(CONFIG, mixing_prob=0.0))
    for iteration in range(8):
        always.iteration = never.iteration = iteration
        mixed, plain = (t.make_pass(t.draw("g", 4)).ws for t in (always, never))
        assert torch.equal(plain, plain[:, :1].expand_as(plain))
        changes = [(mixed[:, k] != mixed[:, k - 1]).any().item() for k in range(1, mixed.shape[1])]
        assert sum(changes) == 1


def test_ada_p_rises_while_d_is_sure_of_its_reals() -> None:
    config = dataclasses.replace(CONFIG, kimg=0.2, path_weight=0.0, lr_d=0.01)
    trainer = run(
        tiny_trainer([load_technique("ada", {"target": 0.1, "kimg": 0.4, "every": 1, "transforms": "bgc"})], config)
    )
    assert trainer.ada is not None
    assert trainer.ada.p > 0.05


def test_r1_and_path_length_run_at_their_intervals_and_not_at_weight_0() -> None:
    trainer = tiny_trainer([])
    for iteration in range(4):
        trainer.step()
        assert trainer.means.counts["r1"] == 1 + iteration // 4
    off = tiny_trainer([], dataclasses.replace(CONFIG, r1_gamma=0.0, path_weight=0.0))
    off.step()
    assert "r1" not in off.means.counts
    assert off.mean_path.item() == 0.0


def test_fewer_images_than_a_batch_are_refused_before_training() -> None:
    with pytest.raises(BudgetError, match=r"train\.batch: 4 images, but the dataset has 3"):
        Trainer(tiny_networks(), tiny_images(3), CONFIG, [], 0)


def test_numbers_that_are_not_finite_stop_the_training_with_advice() -> None:
    trainer = tiny_trainer([])
    with torch.no_grad():
        trainer.nets.discriminator.out.bias.fill_(torch.nan)
    with pytest.raises(DivergenceError, match=r"lower train\.lr_g"):
        run(trainer)


@pytest.mark.parametrize("bad", [{"batch": 0}, {"mixing_prob": 1.5}, {"kimg": -1.0}, {"r1_gamma": -1.0}])
def test_settings_outside_their_range_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"train.{next(iter(bad))}"):
        dataclasses.replace(CONFIG, **bad)


def test_streams_depend_on_seed_purpose_and_index_alone() -> None:
    draws = {key: torch.rand(3, generator=stream(*key)) for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]}
    values = [tuple(v.tolist()) for v in draws.values()]
    assert len(set(values)) == 4
    assert torch.equal(draws[0, "a", 0], torch.rand(3, generator=stream(0, "a", 0)))
    assert torch.equal(latents(0, "z", 2, 3, 8), latents(0, "z", 0, 5, 8)[2:])
