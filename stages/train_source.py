"""DVC stage ``train_source`` of the assets profile: train a generator and a discriminator from scratch."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from model.data.dataset import ArrayImages
from model.data.lmdb import LmdbImages
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.training.trainer import Trainer
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.session import Session, TrainParams, config_of, pick_device, publish


@dataclass(frozen=True)
class SourceParams:
    """Section ``source``: the architecture and the seed of the networks trained from scratch."""

    seed: int
    generator: GeneratorConfig


def train_source(params: Path, lmdb: Path, scratch: Path, out: Path, run: Run) -> None:
    """Train from random weights on --lmdb; continue from --scratch after an interruption; write --out."""
    settings = read_section(params, "train", TrainParams)
    recipe = read_section(params, "source", SourceParams)
    device = pick_device(settings.device)
    architecture = recipe.generator
    images = LmdbImages(lmdb, architecture.resolution).read_all()
    torch.manual_seed(recipe.seed)  # of the initial weights
    generator = Generator(architecture).to(device)
    judge = DiscriminatorConfig(architecture.resolution, architecture.channel_base, architecture.channel_max)
    nets = Networks.from_scratch(generator, Discriminator(judge).to(device))
    trainer = Trainer(nets, ArrayImages(images), config_of(settings), [], recipe.seed)
    # kimg is no part of the identity: a longer training continues a shorter one.
    kept = {name: value for name, value in asdict(config_of(settings)).items() if name != "kimg"}
    data = hashlib.sha256(images.tobytes()).hexdigest()
    identity = {"data": data, "seed": recipe.seed, "settings": kept, "architecture": asdict(architecture)}
    run.log_params(asdict(settings) | {"seed": recipe.seed, "images": len(images)})
    session = Session(trainer, [], settings, identity, scratch, snapshots=None)
    session.train(run)
    publish(session, out, {"kimg": trainer.kimg}, {**identity, "kimg": trainer.kimg, "command": "stages.train_source"})


if __name__ == "__main__":
    run_stage(train_source)
