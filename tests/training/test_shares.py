"""A batch taken in parts: the same images, groups and gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.data.dataset import ArrayImages
from model.errors import UsageError
from model.finetune import load_method
from model.networks.layers import minibatch_stddev, stddev_group
from model.training.augment import augment
from model.training.randomness import stream
from model.training.shares import grouped_shares, plain_shares
from model.training.trainer import Trainer
from tests.finetune.test_techniques import METHODS
from tests.tiny import CONFIG, tiny_images, tiny_networks

METHOD = {**METHODS["freeze_sg"], **METHODS["structure_loss"], **METHODS["baseline"]}
PUBLISHED = {
    "compat": {"freeze_d": 3, "freeze_g": 2, "freeze_style": 2, "structure_loss": 2, "freeze_fc": False},
    "ada": METHODS["baseline"]["ada"],
}
EIGHT = dataclasses.replace(CONFIG, batch=8, kimg=0.048, r1_every=2)


def exact_trainer(images: ArrayImages, method: dict[str, dict[str, object]] = METHOD) -> Trainer:
    """A trainer in float64, in which a difference of 1e-9 is a mistake and not rounding."""
    nets = tiny_networks()
    for net in (nets.source, nets.generator, nets.discriminator, nets.ema):
        assert net is not None
        net.double()
    trainer = Trainer(nets, images, EIGHT, load_method(method), 0)
    assert trainer.ada is not None
    trainer.ada.p = 0.4  # so that every image is augmented in its own way from the start
    return trainer


@pytest.mark.parametrize(("batch", "parts"), [(8, 2), (16, 4), (12, 3), (6, 2), (10, 5)])
def test_shares_are_whole_groups_of_the_discriminator_and_cover_the_batch_once(batch: int, parts: int) -> None:
    shares = grouped_shares(batch, parts)
    assert sorted(row for share in shares for row in share.rows.tolist()) == list(range(batch))
    assert sum(share.weight for share in shares) == pytest.approx(1)
    features = torch.randn(batch, 3, 4, 4)
    whole = minibatch_stddev(features)
    for share in shares:
        assert len(share.rows) == batch // parts
        assert torch.equal(minibatch_stddev(share.take(features)), share.take(whole))


@pytest.mark.parametrize(("batch", "parts"), [(8, 4), (4, 2), (16, 3), (6, 4)])
def test_a_batch_whose_groups_cannot_be_shared_equally_is_refused_with_what_is_possible(batch: int, parts: int) -> None:
    with pytest.raises(UsageError, match=r"train\.batch: .* groups .* expected a number of parts among \[1") as refusal:
        grouped_shares(batch, parts)
    groups = batch // stddev_group(batch)
    assert str([k for k in range(1, groups + 1) if groups % k == 0]) in str(refusal.value)


def test_a_path_length_step_smaller_than_the_parts_is_refused() -> None:
    assert [len(share.rows) for share in plain_shares(5, 3)] == [2, 2, 1]
    with pytest.raises(UsageError, match=r"train\.path_shrink: .* 2 images"):
        plain_shares(2, 3)


def test_an_image_is_augmented_in_a_share_as_it_is_in_the_whole_batch() -> None:
    images = torch.randn(8, 3, 16, 16)
    whole = augment(images, 0.7, stream(0, "x", 0))
    for share in grouped_shares(8, 2):
        part = augment(share.take(images), 0.7, stream(0, "x", 0), share=share)
        assert torch.allclose(part, share.take(whole), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", [METHOD, PUBLISHED], ids=["ours", "published"])
def test_accumulated_gradients_train_as_the_whole_batch_does(method: dict[str, dict[str, object]]) -> None:
    whole, parts = (exact_trainer(tiny_images(16), method) for _ in range(2))
    parts.take_in_parts(2)
    for one, two in zip(whole, parts, strict=True):
        for name, value in dataclasses.asdict(one).items():
            if name != "seconds_per_kimg":
                assert value == pytest.approx(getattr(two, name), rel=1e-9), name
    assert whole.iteration == 6
    for name in ("generator", "discriminator", "ema"):
        mine, theirs = (getattr(trainer.nets, name).state_dict() for trainer in (whole, parts))
        for key, value in mine.items():
            assert torch.allclose(value, theirs[key], rtol=1e-7, atol=1e-9), f"{name}.{key}"
    assert whole.ada is not None
    assert parts.ada is not None
    assert whole.ada.state_dict() == parts.ada.state_dict()


def test_a_split_that_is_impossible_leaves_the_trainer_as_it_was() -> None:
    trainer = exact_trainer(tiny_images(16))
    before = trainer.shares
    with pytest.raises(UsageError):
        trainer.take_in_parts(3)
    assert (trainer.accumulate, trainer.shares) == (1, before)
