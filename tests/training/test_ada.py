"""The controller of the augmentation's probability."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.errors import UsageError
from model.finetune import load_technique
from model.finetune.technique import AdaConfig, Augmentation, Networks, augmentation_of
from model.training import trainer as training
from model.training.augment import ALL, COLOUR, AdaController
from tests.tiny import run, tiny_networks, tiny_trainer

CONFIG = Augmentation(p=0.0, transforms=ALL, ada=AdaConfig(target=0.6, kimg=1.0, every=4))
SETTINGS = {"target": 0.6, "kimg": 1.0, "every": 4, "transforms": "bgc"}


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
    controller = AdaController(Augmentation(0.3, ALL, AdaConfig(target=0.5, kimg=1.0, every=4)))
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


def test_a_fixed_p_stays_whatever_d_does() -> None:
    controller = AdaController(Augmentation(0.2, ALL, None))
    feed(controller, 1.0, 40)
    assert controller.p == 0.2
    other = AdaController(Augmentation(0.2, ALL, None))
    other.load_state_dict(controller.state_dict())
    assert other.p == 0.2


# what the techniques ask for


def asked(name: str, settings: dict[str, object], nets: Networks | None = None) -> Augmentation:
    found = load_technique(name, settings).augmentation(nets or tiny_networks())
    assert found is not None
    return found


def test_the_automatic_ramp_is_five_times_faster_when_there_is_a_source() -> None:
    nets = tiny_networks()
    scratch = Networks.from_scratch(nets.generator, nets.discriminator)
    ramps = [asked("ada", {**SETTINGS, "kimg": "auto"}, n).ada for n in (nets, scratch)]
    assert [ramp.kimg for ramp in ramps if ramp is not None] == [100.0, 500.0]
    assert asked("ada", {**SETTINGS, "kimg": 50}, scratch).ada == AdaConfig(0.6, 50.0, 4)


@pytest.mark.parametrize(
    ("transforms", "names"),
    [
        ("b", {"flip", "quarter_turns", "whole_shift"}),
        ("g", {"scale", "pre_rotation", "aspect", "post_rotation", "shift"}),
        ("c", {"brightness", "contrast", "luma_flip", "hue", "saturation"}),
        ("gc", set(ALL) - {"flip", "quarter_turns", "whole_shift"}),
        ("bgc", set(ALL)),
        (["hue", "flip"], {"hue", "flip"}),
    ],
)
@pytest.mark.parametrize("technique", ["ada", "augment"])
def test_groups_and_lists_name_the_transformations_that_may_happen(
    technique: str, transforms: str | list[str], names: set[str]
) -> None:
    settings = {**SETTINGS, "transforms": transforms} if technique == "ada" else {"p": 0.2, "transforms": transforms}
    assert asked(technique, settings).transforms == names


def test_adaptive_p_starts_at_0_and_a_fixed_one_where_it_stays() -> None:
    assert asked("ada", SETTINGS).p == 0.0
    assert asked("augment", {"p": 0.2, "transforms": "bgc"}) == Augmentation(0.2, ALL, None)


def test_both_in_one_method_are_refused() -> None:
    both = [load_technique("ada", SETTINGS), load_technique("augment", {"p": 0.2, "transforms": "bgc"})]
    with pytest.raises(UsageError, match="found ada and augment in one method"):
        augmentation_of(both, tiny_networks())
    assert augmentation_of([], tiny_networks()) is None


# in the training loop


def test_a_fixed_p_is_what_every_step_of_a_training_augments_with(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(images: torch.Tensor, p: float, random: torch.Generator, **settings: Any) -> torch.Tensor:
        seen.append((p, settings["allowed"]))
        return images

    monkeypatch.setattr(training, "augment", watched)
    trainer = run(tiny_trainer([load_technique("augment", {"p": 0.3, "transforms": "c"})]))
    assert len(seen) >= 3 * trainer.total_iterations  # fakes and reals of D, fakes of G
    assert set(seen) == {(0.3, frozenset(COLOUR))}


@pytest.mark.parametrize("technique", [("ada", SETTINGS), ("augment", {"p": 0.0, "transforms": "bgc"})])
def test_at_p_0_a_training_step_augments_nothing(
    technique: tuple[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "augment", None)  # calling it would fail
    trainer, plain = tiny_trainer([load_technique(*technique)]), tiny_trainer([])
    for each in (trainer, plain):
        each.step()
    states = [each.nets.generator.state_dict() for each in (trainer, plain)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
