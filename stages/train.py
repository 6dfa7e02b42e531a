"""DVC stage ``train``: fine-tune the source generator on one dataset with one method and one seed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from model.checkpoint.native import load_discriminator, load_generator
from model.data.cache import map_lmdb
from model.data.lmdb import LmdbImages
from model.data.prefetch import Prefetched
from model.errors import CorruptInputError
from model.files import remove_folder, sha256_file
from model.finetune import load_method
from model.finetune.technique import Networks
from model.training.trainer import Trainer
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.session import Session, TrainParams, config_of, pick_device, publish


def train(params: Path, plan: Path, lmdb: Path, source: Path, seed: str, scratch: Path, out: Path, run: Run) -> None:
    """Train --plan on --lmdb from --source; continue from --scratch after an interruption; write --out."""
    settings = read_section(params, "train", TrainParams)
    seed_value = read_section(params, f"seeds.{seed}", int)
    read = json.loads(plan.read_text())
    if read.get("format") != 1:
        raise CorruptInputError(
            f"{plan}: format {read.get('format')!r}, this version reads 1; run the plan stage again"
        )
    techniques = load_method(read["techniques"])
    weights = source / "networks.safetensors"
    device = pick_device(settings.device)
    generator = load_generator(weights).to(device)
    nets = Networks.from_source(generator, load_discriminator(weights).to(device))
    images = LmdbImages(lmdb / "train", generator.config.resolution)
    identity = {
        "techniques": read["techniques"], "code": read["code"], "data": images.digest, "source": sha256_file(weights),
        "seed": seed_value, "settings": asdict(settings),
    }  # fmt: skip
    run.log_params(asdict(settings) | {"method": read["method"], "seed": seed_value, "images": len(images)})
    decoded = map_lmdb(images, scratch.parent / "cache")  # one for all trainings of the profile
    with Prefetched(decoded, device) as reader:
        trainer = Trainer(nets, reader, config_of(settings), techniques, seed_value)
        session = Session(trainer, techniques, settings, identity, scratch)
        session.train(run)
    details = {"method": read["method"], "techniques": read["techniques"], "seed": seed, "dataset": lmdb.name}
    publish(session, out, details, {**identity, "method": read["method"], "dataset": lmdb.name})
    run.log_artifact(out / "stats.csv")
    remove_folder(scratch)


if __name__ == "__main__":
    run_stage(train)
