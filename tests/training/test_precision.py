"""Features in bf16: what stays fp32, how near the results are, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.finetune import load_method
from model.training.state import load_state, save_state
from model.training.trainer import Trainer
from tests.finetune.test_techniques import METHODS
from tests.tiny import run, tiny_trainer

METHOD = {**METHODS["structure_loss"], "ada": METHODS["baseline"]["ada"]}


def trainer_of(precision: torch.dtype | None) -> Trainer:
    trainer = tiny_trainer(load_method(METHOD))
    trainer.nets.compute_in(precision)
    return trainer


def test_features_are_bf16_and_images_logits_parameters_and_gradients_are_not() -> None:
    trainer = trainer_of(torch.bfloat16)
    step = trainer.make_pass(trainer.draw("g", 4))
    image = trainer.render(step)
    assert {out.features.dtype for out in step.outputs.values()} == {torch.bfloat16}
    assert {out.rgb.dtype for out in step.outputs.values()} == {image.dtype} == {torch.float32}
    seen = []
    hook = trainer.nets.discriminator.blocks["16"].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    logits = trainer.logits(image, "g", trainer.shares[0])
    hook.remove()
    assert (seen, logits.dtype) == ([torch.bfloat16], torch.float32)
    trainer.step()
    tensors = [*trainer.nets.generator.parameters(), *trainer.nets.discriminator.parameters()]
    assert {t.dtype for p in tensors for t in (p, p.grad) if t is not None} == {torch.float32}


def test_images_and_logits_are_near_those_in_full_precision() -> None:
    """Within the 8 bits of a bf16 mantissa, over a dozen layers."""
    full, half = trainer_of(None), trainer_of(torch.bfloat16)
    images = [t.render(t.make_pass(t.draw("g", 4))).detach() for t in (full, half)]
    assert not torch.equal(*images)
    assert (images[0] - images[1]).norm() < 0.02 * images[0].norm()
    logits = [t.nets.discriminator(images[0]).detach() for t in (full, half)]
    assert (logits[0] - logits[1]).abs().max() < 0.02 * logits[0].abs().max()


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_structure_loss_of_a_target_equal_to_its_source_is_exactly_zero(precision: torch.dtype | None) -> None:
    trainer = trainer_of(precision)
    step = trainer.make_pass(trainer.draw("g", 4))
    trainer.render(step)
    losses = [technique.generator_loss(trainer.nets, step) for technique in trainer.techniques]
    assert [loss.item() for loss in losses if loss is not None] == [0.0]


def test_a_whole_training_goes_the_same_way_and_ends_near() -> None:
    full, half = trainer_of(None), trainer_of(torch.bfloat16)
    start = full.nets.ema.synthesis.const.clone()
    reports = [list(trainer)[-1] for trainer in (full, half)]
    assert half.mean_path.item() == pytest.approx(full.mean_path.item(), rel=0.05)
    assert reports[1].d_loss == pytest.approx(reports[0].d_loss, rel=0.05)
    moves = [(trainer.nets.ema.synthesis.const - start).flatten() for trainer in (full, half)]
    assert torch.cosine_similarity(*moves, dim=0) > 0.9


def test_a_resumed_run_in_bf16_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    whole, first, second = (trainer_of(torch.bfloat16) for _ in range(3))
    run(whole)
    for _ in range(4):
        first.step()
    save_state(tmp_path, first, {}, {})
    load_state(tmp_path, second, {})
    run(second)
    mine, theirs = whole.nets.ema.state_dict(), second.nets.ema.state_dict()
    assert [name for name, value in mine.items() if not torch.equal(value, theirs[name])] == []
