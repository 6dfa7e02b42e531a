"""Tiny networks for tests: 32 px, 16 channels, seeded."""

from __future__ import annotations

import numpy as np
import torch

from model.data.dataset import ArrayImages
from model.finetune.technique import Networks, Technique
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.training.config import TrainConfig
from model.training.trainer import Trainer

CONFIG = TrainConfig(
    kimg=0.04, batch=4, tick_kimg=0.008, lr_g=0.002, lr_d=0.002, r1_gamma=1.0, r1_every=4, path_weight=2.0,
    path_every=2, path_shrink=2, path_decay=0.01, mixing_prob=0.9, ema_kimg=0.02,
)  # fmt: skip


def tiny_generator(seed: int = 0, resolution: int = 32) -> Generator:
    """Return a random generator whose noise strengths are not zero."""
    torch.manual_seed(seed)
    generator = Generator(
        GeneratorConfig(resolution, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16)
    )
    for conv in generator.synthesis.convs():
        torch.nn.init.normal_(conv.noise_strength, std=0.1)
        torch.nn.init.normal_(conv.bias, std=0.1)
    return generator


def tiny_networks(seed: int = 0, resolution: int = 32) -> Networks:
    """Return networks of a fine-tuning from a random source."""
    generator = tiny_generator(seed, resolution)
    discriminator = Discriminator(DiscriminatorConfig(resolution, channel_base=256, channel_max=16))
    return Networks.from_source(generator, discriminator)


def tiny_images(n: int = 12, resolution: int = 32, seed: int = 0) -> ArrayImages:
    """Return random images."""
    random = np.random.default_rng(seed)
    return ArrayImages(random.integers(0, 256, (n, resolution, resolution, 3), dtype=np.uint8))


def tiny_trainer(
    techniques: list[Technique], config: TrainConfig = CONFIG, seed: int = 0, resolution: int = 32
) -> Trainer:
    """Return a trainer of tiny networks."""
    return Trainer(tiny_networks(seed, resolution), tiny_images(resolution=resolution), config, techniques, seed)


def run(trainer: Trainer) -> Trainer:
    """Train to the end."""
    for _ in trainer:
        pass
    return trainer
