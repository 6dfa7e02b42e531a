"""DVC stage ``photos`` of the assets profile: photographs of the synthetic face world, as one LMDB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.data.lmdb_write import Packing, write_lmdb
from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render
from model.progress import track
from pipeline.params import read_section
from stages.entry import run


@dataclass(frozen=True)
class PhotosParams:
    """Section ``photos``."""

    world: int  # seed of the faces
    count: int  # images
    resolution: int  # px


def photos(params: Path, out: Path) -> None:
    """Render the first --params ``photos.count`` faces of the world and pack them into --out."""
    settings = read_section(params, "photos", PhotosParams)
    faces = [sample_attributes(settings.world, index) for index in range(settings.count)]
    images = [render(face, "photo", settings.resolution) for face in track(faces, "render", len(faces))]
    names = [f"synthetic:{settings.world}:{index}" for index in range(settings.count)]
    write_lmdb(out, images, names, Packing([settings.resolution], "png", workers=1))


if __name__ == "__main__":
    run(photos)
