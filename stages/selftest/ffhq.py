"""FID of the published FFHQ-256 generator: whether reading foreign weights, drawing and measuring agree with others.

Its author states "FID about 4.5" (rosinality/stylegan2-pytorch, README). His program measures with another
normalisation and without rounding to bytes, so a range is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from model.checkpoint.rosinality import read_rosinality
from model.data.images import SUFFIXES, centre_square, read_image, resize, to_uint8
from model.latents.sampling import seeded_noise, seeded_z
from model.metrics.extractors.base import Images
from model.metrics.extractors.inception import Inception, open_inception_legacy
from model.metrics.frechet import frechet_distance
from model.networks.generator import Generator
from model.progress import track
from stages.fetch.weights import ensure
from stages.processes import pick_device
from stages.selftest.check import Check, NotRun, within

LOWEST, HIGHEST = 4.0, 5.0
COUNT = 50_000  # images of either side
BATCH = 32


def check(folder: Path | None) -> Check:
    """Return the check; ``folder`` holds FFHQ's aligned photographs, at 256 px or more, in any sub-folders."""
    return Check("FID of FFHQ-256", lambda: _compare(folder))


def _compare(folder: Path | None) -> tuple[bool, str]:
    if folder is None:
        raise NotRun(f"needs {COUNT} photographs of FFHQ and a GPU for an hour; give --ffhq FOLDER")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:COUNT]
    if len(files) < COUNT:
        raise NotRun(f"{folder}: found {len(files)} pictures, expected {COUNT} or more of FFHQ's 70000; get them all")
    extractor = open_inception_legacy(ensure("inception_2015"))
    generator = read_rosinality(ensure("ffhq256"))[0].to(pick_device("auto"))
    real = _features(extractor, _photos(files, generator.config.resolution), "photographs")
    fake = _features(extractor, _drawn(generator), "generated")
    return within(f"fid of {COUNT} images by {extractor.name}", frechet_distance(fake, real), LOWEST, HIGHEST)


def _photos(files: list[Path], size: int) -> Iterator[Images]:
    for start in range(0, len(files), BATCH):
        yield np.stack([resize(centre_square(read_image(file)), size) for file in files[start : start + BATCH]])


@torch.no_grad()
def _drawn(generator: Generator) -> Iterator[Images]:
    """Draw without truncation, with fresh noise, image i from seed i."""
    for start in range(0, COUNT, BATCH):
        seeds = range(start, min(start + BATCH, COUNT))
        z = seeded_z(seeds, generator.config.z_dim).to(generator.w_avg)
        ws = generator.broadcast(generator.mapping(z))
        yield to_uint8(generator.synthesis(ws, seeded_noise(generator, seeds)))


def _features(extractor: Inception, batches: Iterator[Images], what: str) -> np.ndarray:
    total = -(-COUNT // BATCH)
    return np.concatenate([extractor(images) for images in track(batches, what, total, unit=f"x {BATCH} images")])
