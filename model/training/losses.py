"""Losses of StyleGAN2, as pure functions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def real_loss(logits: Tensor) -> Tensor:
    """Real half of the discriminator's logistic loss, a scalar (Goodfellow et al. 2014, by softplus for stability)."""
    return F.softplus(-logits).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """Fake half of the discriminator's logistic loss, a scalar."""
    return F.softplus(logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator, a scalar: both halves."""
    return real_loss(real_logits) + fake_loss(fake_logits)


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator, a scalar (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Mean squared norm of the gradient of ``logits [N, 1]`` at ``images [N, 3, R, R]``, a scalar.

    Source: Mescheder et al. 2018, equation 9 (without the factor gamma / 2).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_lengths(images: Tensor, ws: Tensor, pixel_noise: Tensor) -> Tensor:
    """Length of the path an image walks when w moves: ``|J_w^T y|`` for each image, ``[N]``.

    Args:
        images: ``[N, 3, R, R]`` computed from ``ws``.
        ws: ``[N, num_ws, w_dim]``; the norm is taken over w and averaged (in squares) over the rows.
        pixel_noise: y, standard normal, ``[N, 3, R, R]``.

    Source: Karras et al. 2020 (StyleGAN2), equation 4 and appendix B (y scaled by ``1 / R``).
    """
    scaled = pixel_noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()
