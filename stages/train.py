"""DVC stage ``train``: fine-tune the source generator on one dataset with one method and one seed."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from model.checkpoint.native import load_discriminator, load_generator
from model.data.dataset import ArrayImages
from model.data.lmdb import LmdbImages
from model.errors import CorruptInputError
from model.files import sha256_file
from model.finetune import load_method
from model.finetune.technique import Networks
from model.metrics.features import StyleFeatures
from model.training.trainer import Trainer
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.session import Session, TrainParams, config_of, pick_device, publish
from stages.snapshots import Judge, SnapshotParams, Snapshots


def train(params: Path, plan: Path, lmdb: Path, source: Path, seed: str, scratch: Path, out: Path, run: Run) -> None:
    """Train --plan on --lmdb from --source; continue from --scratch after an interruption; write --out."""
    settings = read_section(params, "train", TrainParams)
    keeping = read_section(params, "snapshots", SnapshotParams)
    extractor = StyleFeatures()  # a missing weight file is found before anything is trained
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
    heldout = LmdbImages(lmdb / "heldout", generator.config.resolution)
    identity = {
        "techniques": read["techniques"], "code": read["code"], "data": images.digest, "source": sha256_file(weights),
        "seed": seed_value, "settings": asdict(settings), "snapshots": asdict(keeping), "heldout": heldout.digest,
        "extractor": extractor.name,
    }  # fmt: skip
    provenance = {**identity, "method": read["method"], "dataset": lmdb.name}
    pixels = images.read_all()
    judge = Judge(lmdb, pixels, heldout.read_all(), extractor)
    trainer = Trainer(nets, ArrayImages(pixels), config_of(settings), techniques, seed_value)
    run.log_params(asdict(settings) | {"method": read["method"], "seed": seed_value, "images": len(images)})
    snapshots = Snapshots(keeping, judge, settings.kimg, scratch / "snapshots", provenance)
    session = Session(trainer, techniques, settings, identity, scratch, snapshots)
    session.train(run)
    details = {"method": read["method"], "techniques": read["techniques"], "seed": seed, "dataset": lmdb.name}
    publish(session, out, details, provenance)
    run.log_artifact(out / "stats.csv")
    snapshots.record(run, out)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    run_stage(train)
