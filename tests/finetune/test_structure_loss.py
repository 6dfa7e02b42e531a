"""Structure loss: what is compared, how it is summed, and that the source does no more than it must."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.errors import UsageError
from model.finetune import load_technique
from model.finetune.technique import GeneratorPass, Networks
from model.training.trainer import Trainer
from tests.finetune.test_techniques import RGB_16
from tests.tiny import tiny_trainer

VARIANTS = [
    {**RGB_16, "space": space, "reduction": reduction, "resolutions": resolutions}
    for space in ("rgb", "feature")
    for reduction in ("sum", "mean")
    for resolutions in ([4, 8, 16], [16], [8, 32])
]


def prepared(settings: dict[str, Any], *, moved: bool) -> tuple[Trainer, GeneratorPass]:
    """Return a trainer with a rendered pass; a ``moved`` target differs from its source."""
    trainer = tiny_trainer([load_technique("structure_loss", settings)])
    if moved:
        with torch.no_grad():
            trainer.nets.generator.synthesis.const.mul_(1.5)
            trainer.nets.generator.mapping.layers[0].weight.mul_(0.9)
    step = trainer.make_pass(trainer.draw("g", 4))
    trainer.render(step)
    return trainer, step


def loss_of(trainer: Trainer, step: GeneratorPass) -> torch.Tensor:
    loss = trainer.techniques[0].generator_loss(trainer.nets, step)
    assert loss is not None
    return loss


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_loss_of_a_target_equal_to_its_source_is_exactly_zero(settings: dict[str, Any]) -> None:
    assert loss_of(*prepared(settings, moved=False)).item() == 0.0


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_loss_is_the_mse_of_each_resolution_reduced_and_weighted(settings: dict[str, Any]) -> None:
    trainer, step = prepared({**settings, "weight": 3.0}, moved=True)
    source = trainer.nets.source
    assert source is not None
    theirs = {o.resolution: o for o in source.synthesis.walk(step.source_ws, step.noise)}
    ours = {o.resolution: o for o in trainer.nets.generator.synthesis.walk(step.ws, step.noise)}
    name = {"rgb": "rgb", "feature": "features"}[settings["space"]]
    parts = [((getattr(ours[r], name) - getattr(theirs[r], name)) ** 2).mean() for r in settings["resolutions"]]
    wanted = torch.stack(parts).sum().detach() / (1 if settings["reduction"] == "sum" else len(parts))
    loss = loss_of(trainer, step)
    assert loss.item() == pytest.approx(3.0 * wanted.item(), rel=1e-6)
    assert loss.item() > 0


def test_rgb_and_features_are_different_losses() -> None:
    losses = [loss_of(*prepared({**RGB_16, "space": space}, moved=True)).item() for space in ("rgb", "feature")]
    assert losses[0] != pytest.approx(losses[1], rel=0.01)


@pytest.mark.parametrize(("resolutions", "run"), [([4, 8, 16], {4, 8, 16}), ([8], {4, 8}), ([4], {4})])
def test_the_source_runs_up_to_the_largest_resolution_only_and_without_gradient(
    resolutions: list[int], run: set[int]
) -> None:
    trainer, step = prepared({**RGB_16, "resolutions": resolutions}, moved=True)
    source = trainer.nets.source
    assert source is not None
    source.requires_grad_(True)  # so that a gradient would show
    ran: set[int] = set()
    for resolution in source.config.resolutions:
        source.synthesis.block(resolution).register_forward_hook(lambda *_, r=resolution: ran.add(r))
    loss_of(trainer, step).backward()  # type: ignore[no-untyped-call]
    assert ran == run
    assert all(p.grad is None for p in source.parameters())
    assert any(p.grad is not None for p in trainer.nets.generator.parameters())


def test_a_training_from_scratch_is_refused() -> None:
    trainer = tiny_trainer([load_technique("structure_loss", RGB_16)])
    trainer.nets = Networks.from_scratch(trainer.nets.generator, trainer.nets.discriminator)
    with pytest.raises(UsageError, match="source"):
        trainer.step()
