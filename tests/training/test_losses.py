"""Losses against closed forms: logistic values, R1 and path lengths of linear networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.training.losses import discriminator_loss, generator_loss, path_lengths, r1_penalty


def test_an_undecided_discriminator_costs_two_log_2_and_the_generator_log_2() -> None:
    logits = torch.zeros(4, 1)
    assert float(discriminator_loss(logits, logits)) == pytest.approx(2 * math.log(2))
    assert float(generator_loss(logits)) == pytest.approx(math.log(2))


def test_the_discriminator_loss_is_the_cross_entropy_of_real_and_fake() -> None:
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    entropy = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake), entropy)


def test_the_generator_wants_its_fakes_called_real() -> None:
    fake = torch.tensor([[0.5], [-3.0]])
    torch.testing.assert_close(generator_loss(fake), -torch.sigmoid(fake).log().mean())


def test_confident_logits_of_either_sign_stay_finite_with_a_gradient() -> None:
    logits = torch.tensor([[-300.0], [300.0]], requires_grad=True)
    loss = generator_loss(logits)
    assert float(loss.detach()) == pytest.approx(150.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.flatten().tolist() == [-0.5, 0.0]


def test_r1_of_a_linear_discriminator_is_the_squared_norm_of_its_weights() -> None:
    weight = torch.randn(3, 4, 4, dtype=torch.float64)
    images = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    logits = (images * weight).sum((1, 2, 3))[:, None] + 0.7
    torch.testing.assert_close(r1_penalty(logits, images), weight.square().sum())


def test_r1_is_the_mean_over_the_images_of_their_own_gradients() -> None:
    images = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    logits = images.square().sum((1, 2, 3))[:, None]
    torch.testing.assert_close(r1_penalty(logits, images), 4 * images.square().sum((1, 2, 3)).mean())


def test_r1_can_be_trained_on() -> None:
    weight = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty((images * weight).sum((1, 2, 3))[:, None], images)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 2 * weight)


def linear_images(ws: Tensor, jacobian: Tensor) -> Tensor:
    """Images whose derivative by every row of ``ws`` is the same ``jacobian [3 * R * R, w_dim]`` over the row count."""
    return (ws.mean(1) @ jacobian.t()).reshape(len(ws), 3, 4, 4)


def test_the_path_length_of_a_linear_generator_is_its_transposed_jacobian_times_the_noise() -> None:
    jacobian = torch.randn(48, 6, dtype=torch.float64)
    ws = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    lengths = path_lengths(linear_images(ws, jacobian), ws, noise)
    rows = (noise.reshape(3, -1) / 4) @ jacobian / 2  # y is scaled by 1 / R; two rows share the derivative
    torch.testing.assert_close(lengths, rows.norm(dim=1))


def test_path_lengths_do_not_depend_on_how_many_rows_carry_the_same_gradient() -> None:
    jacobian = torch.randn(48, 6, dtype=torch.float64)
    noise = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    lengths = []
    for rows in (1, 4):
        ws = torch.randn(1, rows, 6, dtype=torch.float64, requires_grad=True)
        lengths.append(path_lengths(linear_images(ws, jacobian) * rows, ws, noise))
    torch.testing.assert_close(lengths[0], lengths[1])


def test_path_lengths_do_not_depend_on_the_resolution_of_the_same_picture() -> None:
    generator = torch.Generator().manual_seed(0)
    means = []
    for size in (8, 32):
        ws = torch.randn(256, 1, 4, requires_grad=True)
        images = (ws[:, 0, :3])[:, :, None, None].expand(-1, -1, size, size)  # w is the colour of a plain picture
        noise = torch.randn(images.shape, generator=generator)
        means.append(float(path_lengths(images, ws, noise).mean().detach()))
    assert means[0] == pytest.approx(means[1], rel=0.1)


def test_path_lengths_can_be_trained_on() -> None:
    jacobian = torch.randn(48, 6, dtype=torch.float64, requires_grad=True)
    ws = torch.randn(2, 1, 6, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    squares = path_lengths(linear_images(ws, jacobian), ws, noise).square().sum()
    (gradient,) = torch.autograd.grad(squares, jacobian)
    y = noise.reshape(2, -1) / 4
    torch.testing.assert_close(gradient, 2 * y.t() @ (y @ jacobian))
