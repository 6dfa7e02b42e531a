"""DVC stage ``page``: the comparison as one page, its figures and sheets, and a page of blind choices."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from model.data.images import write_png
from model.files import atomic_write, atomic_write_text, publish_folder
from pipeline.params import ParamsError, read_section
from pipeline.tracking import Run
from stages.comparing.table import read_table
from stages.entry import run as run_stage
from stages.report import hero, sheets
from stages.report.figures import figures
from stages.report.look import file_name
from stages.report.page import html
from stages.report.pictures import Shots, shots_of
from stages.report.view import View, view_of
from stages.study.page import study_html

GROUNDS = ("", "-dark")  # in the names of figures
AllShots = dict[tuple[str, str], Shots]  # (method, dataset) -> pictures


@dataclass(frozen=True)
class PageParams:
    """Section ``page``."""

    sheet_faces: int  # latents on a contact sheet
    hero_faces: int  # faces per row of the hero picture
    grid_faces: int  # rows of the page's picture grid
    max_mb: float  # of the page; its pictures are made smaller until it fits
    study_pairs: int  # questions per rater on the page of blind choices

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value <= 0:
                raise ParamsError(f"page.{field.name}: found {value}, expected more than 0")


def page(params: Path, data: Path, out: Path, run: Run) -> None:
    """Write index.html, study.html, hero.png, figures and sheets to the folder --out, from the folder --data alone.

    The folder of --data may lie in --out: nothing else in there is touched.
    """
    settings = read_section(params, "page", PageParams)
    view = view_of(read_table(data / "table.parquet"))
    pictures = data / "pictures"
    shots = {
        (method, dataset): found
        for dataset in view.datasets
        for method in view.methods(dataset)
        if (found := shots_of(pictures, method, dataset)) is not None
    }
    drawn = figures(view)
    atomic_write_text(out / "index.html", html(view, shots, drawn, settings.grid_faces, settings.max_mb))
    atomic_write_text(out / "study.html", study_html(view.table, pictures, settings.study_pairs))
    _hero(view, shots, settings.hero_faces, out / "hero.png")
    with publish_folder(out / "figures") as folder:
        for (name, dataset), images in drawn.items():
            for ground, image in zip(GROUNDS, images, strict=True):
                write_png(folder / f"{name}-{file_name(dataset)}{ground}.png", image)
    with publish_folder(out / "sheets") as folder:
        _sheets(view, shots, settings.sheet_faces, folder)
    _record(run, out)


def _hero(view: View, shots: AllShots, faces: int, path: Path) -> None:
    shown = hero.blocks(view, shots, faces)
    if shown:
        atomic_write(path, lambda file: file.write(hero.picture(shown)))


def _sheets(view: View, shots: AllShots, faces: int, folder: Path) -> None:
    """Write a contact sheet per dataset, and one of all levels per method and dataset."""
    for dataset in view.datasets:
        mine = {method: found for (method, of), found in shots.items() if of == dataset}
        images = {file_name(dataset): sheets.by_rule(view, dataset, mine, faces)}
        for method, found in mine.items():
            images[f"{file_name(dataset)}-{file_name(method)}"] = sheets.levels(view, dataset, method, found, faces)
        for name, image in images.items():
            if image is not None:
                write_png(folder / f"{name}.png", image)


def _record(run: Run, out: Path) -> None:
    for name in ("index.html", "study.html"):
        run.log_artifact(out / name)
    for folder in ("figures", "sheets"):
        for path in sorted((out / folder).glob("*.png")):
            run.log_image(f"{folder}/{path.stem}", path)
    if (out / "hero.png").is_file():
        run.log_image("hero", out / "hero.png")


if __name__ == "__main__":
    run_stage(page)
