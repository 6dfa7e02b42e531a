"""The two small networks that read faces: one blind to style (similarity), one that sees it (FID, KID)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 64  # px, of the images the networks were trained on
FEATURES = 128  # of StyleNet: what its heads read, and what FID and KID compare
DAMAGES = 3  # blur, noise, warp: what StyleNet also tells, so that its features see bad drawings
GLANCE, LOOK = 64, 96  # features of AttributeNet's two passes
LOOK_SIZE = 48  # px, of the upright face that the second pass sees
LOOK_SHARE = 0.36  # half the side of that face, as a share of the image


class Trunk(nn.Module):
    """Images ``[N, 3, S, S]`` -> features ``[N, F]``: four halvings, and no pooling, because places matter."""

    def __init__(self, size: int, widths: tuple[int, int, int, int], squeezed: int, features: int) -> None:
        """Build the layers; initial weights are drawn from the global generator.

        Args:
            size: px of the images, a multiple of 16.
            widths: channels after each halving.
            squeezed: channels kept for the dense layer.
            features: numbers that come out.
        """
        super().__init__()
        a, b, c, d = widths
        self.body = nn.Sequential(_down(3, a), _down(a, b), _Residual(b), _down(b, c), _Residual(c), _down(c, d))
        self.squeeze = nn.Sequential(nn.Conv2d(d, squeezed, 1), nn.ReLU(inplace=True))
        self.dense = nn.Linear(squeezed * (size // 16) ** 2, features)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # PyTorch's default shrinks the signal with every layer, which starves the first ones.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Run the layers."""
        features: Tensor = self.dense(self.maps(images).flatten(1))
        return features

    def maps(self, images: Tensor) -> Tensor:
        """Return what the dense layer reads, ``[N, squeezed, S / 16, S / 16]``."""
        maps: Tensor = self.squeeze(self.body(images.contiguous(memory_format=torch.channels_last)))
        return maps


class AttributeNet(nn.Module):
    """Reads attributes and landmarks off a face and does not care how it is drawn.

    It looks twice: at the picture, for the landmarks, then at the face those landmarks set upright, for everything
    that is a few pixels large (a smile, a gaze). Trained on every style with the same labels and strong colour changes:
    what it reads is what similarity compares.
    """

    attribute_mean: Tensor
    attribute_std: Tensor
    mean_points: Tensor

    def __init__(self, attributes: int, points: int) -> None:
        """Build for ``attributes`` numbers and ``points`` landmarks per face."""
        super().__init__()
        self.glance = Trunk(SIZE, (24, 48, 64, 64), 24, GLANCE)
        self.look = Trunk(LOOK_SIZE, (24, 48, 64, 64), 32, LOOK)
        self.points = nn.Linear(GLANCE, 2 * points)
        self.attributes = nn.Linear(GLANCE + LOOK, attributes)
        # Of the training faces: predictions are in units of their spread, so two unrelated faces differ by about 2.
        self.register_buffer("attribute_mean", torch.zeros(attributes))
        self.register_buffer("attribute_std", torch.ones(attributes))
        self.register_buffer("mean_points", torch.full((points, 2), 0.5))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read faces.

        Args:
            images: ``[N, 3, H, W]`` in [-1, 1].

        Returns: standardised attributes ``[N, A]`` and landmarks ``[N, L, 2]``, (x, y) in [0, 1] of the image.
        """
        features, points = self.features(images)
        return self.attributes(features), points

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the attributes are read from, ``[N, 160]``, and the landmarks; images as in :meth:`forward`."""
        images = to_size(images)
        first = functional.relu(self.glance(images))
        points = self.mean_points + self.points(first).unflatten(1, (-1, 2))
        second = functional.relu(self.look(self._upright(images, points.detach())))
        return torch.cat([first, second], dim=1), points

    def maps(self, images: Tensor) -> Tensor:
        """Return the first pass's last map of places, ``[N, 24, 4, 4]``; images as in :meth:`forward`."""
        return self.glance.maps(to_size(images))

    def _upright(self, images: Tensor, points: Tensor) -> Tensor:
        """Cut out the face ``[N, 3, 48, 48]`` by the similarity that best maps the mean landmarks to ``points``."""
        centre, template = points.mean(dim=1), self.mean_points - self.mean_points.mean(dim=0)
        offsets = points - centre[:, None]
        size = template.square().sum().clamp_min(1e-6)
        cos = (offsets * template).sum(dim=(1, 2)) / size
        sin = (offsets[..., 1] * template[:, 0] - offsets[..., 0] * template[:, 1]).sum(dim=1) / size
        # As grid_sample counts: the image is [-1, 1] wide.
        half, place = 2.0 * LOOK_SHARE, centre * 2.0 - 1.0
        rows = [torch.stack([half * cos, -half * sin, place[:, 0]], dim=1)]
        rows += [torch.stack([half * sin, half * cos, place[:, 1]], dim=1)]
        shape = [len(images), 3, LOOK_SIZE, LOOK_SIZE]
        grid = functional.affine_grid(torch.stack(rows, dim=1), shape, align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


class StyleNet(nn.Module):
    """Tells styles, attributes and damage apart from one feature vector, which FID and KID compare.

    A network trained for attributes alone forgets the style, and distances on its features grow while drawings improve.
    """

    def __init__(self, styles: int, attributes: int) -> None:
        """Build for ``styles`` classes and ``attributes`` numbers per face."""
        super().__init__()
        self.trunk = Trunk(SIZE, (32, 64, 96, 96), 32, FEATURES)
        self.style = nn.Linear(FEATURES, styles)
        self.attributes = nn.Linear(FEATURES, attributes)
        self.damage = nn.Linear(FEATURES, DAMAGES)

    def features(self, images: Tensor) -> Tensor:
        """Images ``[N, 3, H, W]`` in [-1, 1] -> features ``[N, 128]``, linear: every head reads them as they are."""
        features: Tensor = self.trunk(to_size(images))
        return features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return style logits ``[N, S]``, standardised attributes ``[N, A]`` and damage ``[N, 3]`` in [0, 1]."""
        features = self.features(images)
        return self.style(features), self.attributes(features), self.damage(features)


def to_size(images: Tensor) -> Tensor:
    """Resize images ``[N, 3, H, W]`` to 64 px, antialiased, where needed."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected images [N, 3, H, W] in [-1, 1], got {tuple(images.shape)}")
    if images.shape[-2:] == (SIZE, SIZE):
        return images
    return functional.interpolate(images, size=(SIZE, SIZE), mode="bicubic", antialias=True).clamp(-1.0, 1.0)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + functional.relu(self.norm(self.conv(maps)))


def _down(channels_in: int, channels_out: int) -> nn.Module:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))
