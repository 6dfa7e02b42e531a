"""DVC stage ``train``: fine-tune the source generator on one dataset with one method and one seed, or train one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from model.checkpoint.native import load_discriminator, load_generator
from model.data.cache import map_lmdb
from model.data.lmdb import LmdbImages
from model.data.prefetch import Prefetched
from model.errors import CorruptInputError
from model.files import remove_folder, sha256_file
from model.finetune import load_method
from model.finetune.technique import Networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from model.ops.memory import keep_freed_memory
from model.training.trainer import Trainer
from model.training.world import World
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.processes import count_processes, joined, pick_device
from stages.session import Session, TrainParams, config_of, lasting, publish
from stages.snapshots import Judging


@dataclass(frozen=True)
class Inputs:
    """What a training reads and where it writes; see :func:`train`."""

    params: Path
    lmdb: Path
    seed: str
    scratch: Path
    out: Path
    plan: Path | None
    source: Path | None


def train(
    params: Path, lmdb: Path, seed: str, scratch: Path, out: Path, run: Run | None,
    plan: Path | None = None, source: Path | None = None,
) -> None:  # fmt: skip
    """Train --plan on --lmdb from --source with the seed named --seed; write --out.

    An interrupted training goes on from --scratch. Without --source, networks of the section ``architecture``
    start from random weights; without --plan, no technique is used.
    """
    inputs = Inputs(params, lmdb, seed, scratch, out, plan, source)
    settings = read_section(params, "train", TrainParams)
    count = count_processes(settings.gpus, settings.device)
    with joined(count, settings.device, partial(_train, inputs, None)) as world:
        _train(inputs, run if world.rank == 0 else None, world)


def _train(inputs: Inputs, run: Run | None, world: World) -> None:
    keep_freed_memory()
    settings = read_section(inputs.params, "train", TrainParams)
    seed = read_section(inputs.params, f"seeds.{inputs.seed}", int)
    method = _method(inputs.plan)
    judging = Judging(inputs.params)
    device = pick_device(settings.device, world.rank)
    nets = _networks(inputs, seed, device)
    nets.compute_in(torch.bfloat16 if settings.precision == "bf16" else None)
    images = LmdbImages(inputs.lmdb / "train", nets.generator.config.resolution)
    techniques = load_method(method["techniques"])
    identity = {
        "techniques": method["techniques"], "code": method["code"], "data": images.digest, "seed": seed,
        "source": None if inputs.source is None else sha256_file(inputs.source / "networks.safetensors"),
        "architecture": asdict(nets.generator.config), "settings": lasting(settings),
    }  # fmt: skip
    made_by = {"method": method["method"], "dataset": inputs.lmdb.name}
    identity |= judging.open(inputs.lmdb, nets.generator.config.resolution)
    if run is not None:
        run.log_params(asdict(settings) | {"method": method["method"], "seed": seed, "images": len(images)})
        _note_dataset(run, inputs.lmdb, images)
    decoded = map_lmdb(images, inputs.scratch.parent / "cache")  # one for all trainings of the profile
    with Prefetched(decoded, device) as reader:
        trainer = Trainer(nets, reader, config_of(settings), techniques, seed, world)
        snapshots = None
        if world.rank == 0:
            snapshots = judging.snapshots(decoded.images, settings.kimg, inputs.scratch, identity | made_by)
        session = Session(trainer, settings, identity, inputs.scratch, run, snapshots)
        session.train()
    if world.rank > 0:
        return
    details = made_by | {
        "techniques": method["techniques"], "seed": inputs.seed, "kimg": trainer.kimg, "rollbacks": trainer.rollbacks,
        "accumulate": trainer.accumulate, "processes": world.size,
    }  # fmt: skip
    publish(session, inputs.out, details, identity | made_by | {"kimg": trainer.kimg})
    if run is not None:
        run.log_artifact(inputs.out / "stats.csv")
        if snapshots is not None:
            snapshots.record(run, inputs.out)
    remove_folder(inputs.scratch)


def _note_dataset(run: Run, lmdb: Path, images: LmdbImages) -> None:
    shape = [len(images), images.resolution, images.resolution, 3]
    run.log_dataset(lmdb.name, images.digest, str(lmdb), shape, {"training": len(images)}, context="training")


def _method(plan: Path | None) -> dict[str, Any]:
    """Return name, techniques and code of a plan."""
    if plan is None:
        return {"method": "from-scratch", "techniques": {}, "code": {}}
    read: dict[str, Any] = json.loads(plan.read_text())
    if read.get("format") != 1:
        raise CorruptInputError(
            f"{plan}: format {read.get('format')!r}, this version reads 1; run the plan stage again"
        )
    return read


def _networks(inputs: Inputs, seed: int, device: torch.device) -> Networks:
    """Return the networks to start from: the source's, or random ones."""
    if inputs.source is not None:
        weights = inputs.source / "networks.safetensors"
        return Networks.from_source(load_generator(weights).to(device), load_discriminator(weights).to(device))
    config = read_section(inputs.params, "architecture", GeneratorConfig)
    torch.manual_seed(seed)
    judge = DiscriminatorConfig(config.resolution, config.channel_base, config.channel_max)
    return Networks.from_scratch(Generator(config).to(device), Discriminator(judge).to(device))


if __name__ == "__main__":
    run_stage(train)
