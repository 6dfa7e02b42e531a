"""Command: train the two measuring networks on synthetic faces (``make repro`` uses the shipped ones)."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.data.synthetic.attributes import VECTOR_NAMES, FaceAttributes, sample_attributes
from model.data.synthetic.geometry import LANDMARK_NAMES, landmarks
from model.data.synthetic.render import STYLES, render
from model.files import MANIFEST, atomic_write, atomic_write_json, write_manifest
from model.metrics.features import ATTRIBUTE_NET, STYLE_NET, AttributeReader, StyleFeatures
from model.metrics.fit import FitParams, ProbeSet, attribute_net, fit, style_net, write_asset
from model.metrics.nets import SIZE, AttributeNet, StyleNet
from model.metrics.sanity import attribute_report, style_report
from model.progress import Progress, track
from pipeline.params import read_section
from stages.entry import run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeParams:
    """The faces and how each network learns from them."""

    world: int  # seed of the faces; no dataset may use the same
    faces: int  # to learn from, each rendered in every style
    heldout: int  # further faces, for the report
    seed: int  # of initial weights, batches and jitter
    attribute_net: FitParams
    style_net: FitParams


def train_probes(params: Path, out: Path, scratch: Path) -> None:
    """Train both networks and write them, with a report on held-out faces, into the folder --out.

    Other files of --out stay, so it may be the folder of shipped assets. --scratch keeps rendered faces and training
    states: an interrupted run goes on from there.
    """
    settings = read_section(params, "probes", ProbeParams)
    learn = _faces(settings.world, range(settings.faces), scratch)
    heldout = _faces(settings.world, range(settings.faces, settings.faces + settings.heldout), scratch)
    made_by = _provenance(settings, learn)
    for name, make, how in (
        (ATTRIBUTE_NET, attribute_net, settings.attribute_net),
        (STYLE_NET, style_net, settings.style_net),
    ):
        torch.manual_seed(settings.seed)
        net: AttributeNet | StyleNet = make(learn)
        _train(net, learn, how, settings.seed, scratch / f"{name}.state")
        write_asset(out / f"{name}.safetensors", net, learn, made_by)
    _keep_details(out)
    report = {
        "attribute_net": attribute_report(AttributeReader(out), heldout),
        "style_net": style_report(StyleFeatures(out), heldout),
    }
    atomic_write_json(out / "probes_report.json", report)
    _keep_details(out)
    log.info("report on %d held-out faces:\n%s", settings.heldout, json.dumps(report, indent=1))


def _faces(world: int, indices: range, scratch: Path) -> ProbeSet:
    """The faces with these numbers in every style, rendered or read from --scratch."""
    faces = [sample_attributes(world, index) for index in indices]
    return ProbeSet(
        images=np.stack([_rendered(faces, style, scratch) for style in STYLES], axis=1),
        attributes=np.stack([face.vector() for face in faces]),
        points=np.stack([landmarks(face) for face in faces]),
        style_names=STYLES,
        attribute_names=VECTOR_NAMES,
        point_names=LANDMARK_NAMES,
    )


def _rendered(faces: list[FaceAttributes], style: str, scratch: Path) -> np.ndarray:
    cache = scratch / f"{style}-{faces[0].seed}-{faces[0].index}-{len(faces)}-{SIZE}.npy"
    if cache.is_file():
        images: np.ndarray = np.load(cache, allow_pickle=False)
        return images
    images = np.stack([render(face, style, SIZE) for face in track(faces, f"render {style}", unit="faces")])
    buffer = io.BytesIO()
    np.save(buffer, images, allow_pickle=False)
    atomic_write(cache, lambda file: file.write(buffer.getbuffer()))
    return images


def _train(net: AttributeNet | StyleNet, data: ProbeSet, params: FitParams, seed: int, state: Path) -> None:
    with Progress(type(net).__name__, params.kimg, "kimg") as progress:
        started = False
        for report in fit(net, data, params, seed, state):
            kimg = report.images / 1000
            if not started:
                progress.resume_at(kimg)
                started = True
            progress.update(kimg - progress.done, f"loss {report.loss:.4f}")


def _provenance(settings: ProbeParams, data: ProbeSet) -> dict[str, Any]:
    return {
        "recipe": asdict(settings),
        "data_sha256": hashlib.sha256(data.images.tobytes()).hexdigest(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _keep_details(folder: Path) -> None:
    """Write the folder's manifest anew and keep what others noted in it."""
    path = folder / MANIFEST
    noted = json.loads(path.read_text()) if path.is_file() else {}
    write_manifest(folder, {key: value for key, value in noted.items() if key not in ("format", "files")})


if __name__ == "__main__":
    run(train_probes)
