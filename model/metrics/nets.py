"""The two small networks that read faces: one blind to style (similarity), one that sees it (FID, KID)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 64  # px, of the images the networks were trained on
FEATURES = 128  # of both networks: what the heads read, and for StyleNet what FID and KID compare
DAMAGES = 3  # blur, noise, warp: what StyleNet also tells, so that its features see bad drawings
_WIDTHS = (32, 64, 96, 96)  # channels at 32, 16, 8 and 4 px
_SQUEEZED = 32  # channels at 4 px kept for the dense layer: places matter, so nothing is pooled


class Trunk(nn.Module):
    """Images ``[N, 3, H, W]`` in [-1, 1] -> features ``[N, 128]``; 0.35 M weights, no normalisation layers."""

    def __init__(self) -> None:
        """Build the layers; initial weights are drawn from the global generator."""
        super().__init__()
        w32, w16, w8, w4 = _WIDTHS
        self.body = nn.Sequential(
            _down(3, w32), _down(w32, w16), _Residual(w16), _down(w16, w8), _Residual(w8), _down(w8, w4)
        )
        self.squeeze = nn.Sequential(nn.Conv2d(w4, _SQUEEZED, 1), nn.ReLU(inplace=True))
        self.dense = nn.Linear(_SQUEEZED * (SIZE // 16) ** 2, FEATURES)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # PyTorch's default shrinks the signal with every layer; without normalisation that starves the first.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Resize to 64 px (antialiased) where needed and run the layers."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"expected images [N, 3, H, W] in [-1, 1], got {tuple(images.shape)}")
        if images.shape[-2:] != (SIZE, SIZE):
            images = functional.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        maps = self.squeeze(self.body(images.contiguous(memory_format=torch.channels_last)))
        features: Tensor = self.dense(maps.flatten(1))
        return features


class AttributeNet(nn.Module):
    """Reads attributes and landmarks off a face and does not care how it is drawn.

    Trained on every style with the same labels and strong colour changes: what it reads is what similarity compares.
    """

    attribute_mean: Tensor
    attribute_std: Tensor

    def __init__(self, attributes: int, points: int) -> None:
        """Build for ``attributes`` numbers and ``points`` landmarks per face."""
        super().__init__()
        self.trunk = Trunk()
        self.attributes = nn.Linear(FEATURES, attributes)
        self.points = nn.Linear(FEATURES, 2 * points)
        # Of the training faces: predictions are in units of their spread, so two unrelated faces differ by about 2.
        self.register_buffer("attribute_mean", torch.zeros(attributes))
        self.register_buffer("attribute_std", torch.ones(attributes))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read faces.

        Args:
            images: ``[N, 3, H, W]`` in [-1, 1].

        Returns: standardised attributes ``[N, A]`` and landmarks ``[N, L, 2]``, (x, y) in [0, 1] of the image.
        """
        features = functional.relu(self.trunk(images))
        return self.attributes(features), 0.5 + self.points(features).unflatten(1, (-1, 2))


class StyleNet(nn.Module):
    """Tells styles, attributes and damage apart from one feature vector, which FID and KID compare.

    A network trained for attributes alone forgets the style, and distances on its features grow while drawings improve.
    """

    def __init__(self, styles: int, attributes: int) -> None:
        """Build for ``styles`` classes and ``attributes`` numbers per face."""
        super().__init__()
        self.trunk = Trunk()
        self.style = nn.Linear(FEATURES, styles)
        self.attributes = nn.Linear(FEATURES, attributes)
        self.damage = nn.Linear(FEATURES, DAMAGES)

    def features(self, images: Tensor) -> Tensor:
        """Images ``[N, 3, H, W]`` in [-1, 1] -> features ``[N, 128]``, linear: every head reads them as they are."""
        features: Tensor = self.trunk(images)
        return features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return style logits ``[N, S]``, standardised attributes ``[N, A]`` and damage ``[N, 3]`` in [0, 1]."""
        features = self.features(images)
        return self.style(features), self.attributes(features), self.damage(features)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + functional.relu(self.conv(maps))


def _down(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), nn.ReLU(inplace=True))
