"""The controller of the augmentation's probability."""

from __future__ import annotations

import pytest
import torch

from model.finetune.technique import AdaConfig
from model.training.augment import AdaController

CONFIG = AdaConfig(target=0.6, kimg=1.0, every=4)


def feed(controller: AdaController, real_sign: float, iterations: int, batch: int = 10, start: int = 0) -> None:
    """Show the controller logits whose mean sign is ``real_sign``."""
    positive = round(batch * (1 + real_sign) / 2)
    logits = torch.cat([torch.full((positive, 1), 3.0), torch.full((batch - positive, 1), -0.1)])
    for iteration in range(start + 1, start + iterations + 1):
        controller.observe(logits)
        controller.update(iteration, batch)


def test_p_rises_while_d_overfits_and_falls_otherwise() -> None:
    controller = AdaController(CONFIG)
    feed(controller, 1.0, 20)
    risen = controller.p
    assert risen == pytest.approx(0.2)
    feed(controller, 0.2, 12)
    assert controller.p == pytest.approx(0.08)
    assert controller.r == pytest.approx(0.2)


def test_p_needs_exactly_kimg_thousand_images_from_0_to_1_and_stays_there() -> None:
    controller = AdaController(CONFIG)
    feed(controller, 1.0, 96)
    assert controller.p == pytest.approx(0.96)
    feed(controller, 1.0, 4)
    assert controller.p == pytest.approx(1.0)
    feed(controller, 1.0, 40)
    assert controller.p == 1.0


def test_p_never_falls_below_0_and_stands_still_on_target() -> None:
    controller = AdaController(CONFIG)
    feed(controller, -1.0, 8)
    assert controller.p == 0.0
    controller = AdaController(AdaConfig(target=0.5, kimg=1.0, every=4), p=0.3)
    for iteration in range(1, 9):
        controller.observe(torch.tensor([1.0, 1.0, 1.0, -1.0]))
        controller.update(iteration, 4)
    assert controller.p == 0.3


def test_p_changes_only_every_few_batches() -> None:
    controller = AdaController(CONFIG)
    feed(controller, 1.0, 3)
    assert controller.p == 0.0
    feed(controller, 1.0, 1, start=3)
    assert controller.p == pytest.approx(0.04)


def test_a_continued_controller_equals_one_never_interrupted() -> None:
    whole, first, second = (AdaController(CONFIG) for _ in range(3))
    feed(whole, 0.8, 10)
    feed(first, 0.8, 6)
    state = first.state_dict()
    assert all(type(value) in (int, float) for value in state.values())
    second.load_state_dict(state)
    feed(second, 0.8, 4, start=6)
    assert second.state_dict() == whole.state_dict()
