"""DVC stage ``crop``: find the faces on a dataset's pictures and cut a square around each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model.data.duplicates import near_duplicates, perceptual_hash
from model.data.faces.boxes import Box
from model.data.faces.crops import FaceCrop, FilterSettings, face_crops, whole_image
from model.data.faces.detector import (
    OPENCV,
    Detector,
    DetectorSettings,
    find_faces,
    finds_landmarks,
    load_detector,
    shipped_file,
)
from model.data.faces.frames import FfhqFrame, FrameSettings
from model.data.images import UInt8, encode_image, read_image, write_png
from model.data.sheets import draw_boxes, fit, sheet, stack
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from model.files import atomic_write_json, publish_folder, sha256_file, verify_manifest
from model.progress import track
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as command
from stages.fetch.weights import ensure
from stages.sources.settings import read_source
from stages.sources.shelf import check_budget

WHOLE = "none"  # datasets.NAME.face of images that are face crops already
QA_COLUMNS, QA_ROWS, QA_TILE, QA_PAGE = 10, 6, 128, 1300  # the last two in px
GREEN, RED = (30, 160, 60), (215, 50, 40)


@dataclass(frozen=True)
class FaceSettings:
    """How one kind of face (``photo``, ``anime``) is found, framed and filtered."""

    detector: DetectorSettings
    frame: FrameSettings
    filters: FilterSettings

    def __post_init__(self) -> None:
        """Refuse to align by landmarks that the detector does not find."""
        if isinstance(self.frame, FfhqFrame) and not finds_landmarks(self.detector):
            raise ValueError(
                f"frame ffhq is made from eyes and mouth, which a detector of kind {self.detector.kind} does not find; "
                f"use the detector kind yunet, or frame kind square"
            )


@dataclass(frozen=True)
class CropParams:
    """Settings of the stage."""

    resolution: int  # px, of the square crops written
    max_bad_fraction: float  # share of unreadable pictures that is tolerated
    faces: dict[str, FaceSettings]  # by kind of face


@dataclass(frozen=True)
class Finder:
    """A loaded detector with the settings around it."""

    name: str
    settings: FaceSettings
    detector: Detector
    file: Path
    sha256: str


def crop(params: Path, dataset: str, raw: Path, out: Path, run: Run) -> None:
    """Cut the faces of the pictures in --raw into --out/crops; write a report and a sheet to look at."""
    settings = read_section(params, "crop", CropParams)
    source = read_source(params, dataset)
    finder = load_finder(source.face, settings, f"datasets.{dataset}.face")
    verify_manifest(raw)
    pictures: dict[str, Any] = json.loads((raw / "crawl.json").read_text())["files"]
    with publish_folder(out) as folder:
        report = {"format": 2, "dataset": dataset, "resolution": settings.resolution, **_describe(finder)}
        report |= _crop_all(raw, pictures, folder / "crops", finder, settings)
        report["counts"] = counts = _counts(report)
        if not counts["kept"]:
            raise _nothing_left(counts, report["dropped"], source.face)
        atomic_write_json(folder / "report.json", report)
        write_png(folder / "qa.png", _quality_sheet(raw, folder / "crops", report))
    run.log_metrics(counts)
    run.log_image("crops", out / "qa.png")
    run.log_artifact(out / "report.json")


def load_finder(face: str, settings: CropParams, key: str) -> Finder | None:
    """Load what finds faces of the kind ``face``; None for whole images.

    Raises: UsageError for an unknown kind; MissingInputError or CorruptInputError about the detector's file.
    """
    if face == WHOLE:
        return None
    if face not in settings.faces:
        known = ", ".join([*sorted(settings.faces), WHOLE])
        raise UsageError(f"{key}: {face!r} is not one of {known}; correct it, or add crop.faces.{face}")
    chosen = settings.faces[face]
    where = f"crop.faces.{face}.detector.file"
    file = detector_file(chosen.detector.file, where)
    return Finder(face, chosen, load_detector(chosen.detector, file, where), file, sha256_file(file))


def detector_file(name: str, key: str) -> Path:
    """Return the checked file that ``opencv:NAME``, ``lock:NAME`` or a path names.

    Raises: MissingInputError naming the params ``key``; what ``stages.fetch.weights.ensure`` raises.
    """
    if name.startswith(OPENCV):
        return shipped_file(name.removeprefix(OPENCV), key)
    if name.startswith("lock:"):
        return ensure(name.removeprefix("lock:"))
    if not Path(name).is_file():
        raise MissingInputError(f"{key}: {name}: no such file; give a path, lock:NAME or opencv:NAME")
    return Path(name)


def _describe(finder: Finder | None) -> dict[str, Any]:
    if finder is None:
        return {"detector": None}
    file = {"name": finder.name, "sha256": finder.sha256, "opencv": cv2.__version__}
    return {"detector": {**file, **asdict(finder.settings)}}


def _crop_all(
    raw: Path, pictures: dict[str, Any], folder: Path, finder: Finder | None, settings: CropParams
) -> dict[str, Any]:
    folder.mkdir()
    crops: dict[str, Any] = {}
    pages: dict[str, Any] = {}
    dropped: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    hashes = []
    for page in track(sorted(pictures), "crop faces", unit="pages"):
        try:
            image = read_image(raw / page)
        except CorruptInputError as error:
            unreadable.append({"page": page, "reason": str(error)})
            continue
        found = _faces(image, finder, settings.resolution)
        kept = [face for face in found if face.pixels is not None]
        dropped += [{"page": page, "box": _numbers(f.face.box), "reason": f.dropped} for f in found if f.pixels is None]
        for index, face in enumerate(kept):
            assert face.pixels is not None
            name = f"{Path(page).stem}-f{index:02d}.png"
            (folder / name).write_bytes(encode_image(face.pixels, "png"))
            where = {"box": _numbers(face.face.box), "square": _numbers(face.square), "score": face.face.score}
            crops[name] = {"page": page, "group": pictures[page]["group"], **where}
            hashes.append(perceptual_hash(face.pixels))
        pages[page] = {"found": len(found), "kept": len(kept)}
    check_budget(len(unreadable), len(pictures), settings.max_bad_fraction, "crop.max_bad_fraction", unreadable)
    names = list(crops)
    alike = [[names[index] for index in group] for group in near_duplicates(hashes)]
    return {"crops": crops, "pages": pages, "dropped": dropped, "unreadable": unreadable, "near_duplicates": alike}


def _faces(image: UInt8, finder: Finder | None, resolution: int) -> list[FaceCrop]:
    if finder is None:
        return [whole_image(image, resolution)]
    chosen = finder.settings
    return face_crops(image, find_faces(image, finder.detector), chosen.frame, chosen.filters, resolution)


def _numbers(box: Box) -> list[int]:
    return [box.x, box.y, box.width, box.height]


def _counts(report: dict[str, Any]) -> dict[str, float]:
    return {
        "pages": len(report["pages"]),
        "pages_without_faces": sum(page["kept"] == 0 for page in report["pages"].values()),
        "found": sum(page["found"] for page in report["pages"].values()),
        "kept": len(report["crops"]),
        "dropped": len(report["dropped"]),
        "unreadable": len(report["unreadable"]),
        "near_duplicates": sum(len(group) - 1 for group in report["near_duplicates"]),
    }


def _reasons(dropped: Sequence[dict[str, Any]]) -> str:
    kinds = Counter(item["reason"].partition(":")[0] for item in dropped)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"


def _nothing_left(counts: dict[str, float], dropped: Sequence[dict[str, Any]], face: str) -> BudgetError:
    found = f"no face is left: {counts['pages']} pictures, {counts['found']} faces found, dropped: {_reasons(dropped)}"
    if face == WHOLE:
        return BudgetError(f"{found}; lower crop.resolution, or use larger pictures")
    return BudgetError(
        f"{found}; look at the pictures, then lower min_neighbors, min_face or min_side in crop.faces.{face}, "
        f"name another detector, or set the dataset's face to `{WHOLE}` if the pictures are face crops already"
    )


def _quality_sheet(raw: Path, folder: Path, report: dict[str, Any]) -> UInt8:
    """Draw a random choice of crops, and the page with the most faces with its boxes."""
    counts = report["counts"]
    chosen = _choose(sorted(report["crops"]), QA_COLUMNS * QA_ROWS)
    rows = [chosen[start : start + QA_COLUMNS] for start in range(0, len(chosen), QA_COLUMNS)]
    title = f"{report['dataset']}: {counts['kept']} crops from {counts['pages']} pictures; "
    title += f"dropped {_reasons(report['dropped'])}"
    scale = max(1, QA_TILE // report["resolution"])
    tiles = [[read_image(folder / name) for name in row] for row in rows]
    grid = sheet(tiles, [], [], title, [[Path(name).stem for name in row] for row in rows], scale)
    if report["detector"] is None:
        return grid
    page = max(sorted(report["pages"]), key=lambda name: report["pages"][name]["kept"])
    used = [tuple(crop["square"]) for crop in report["crops"].values() if crop["page"] == page]
    refused = [tuple(item["box"]) for item in report["dropped"] if item["page"] == page]
    drawn = draw_boxes(draw_boxes(read_image(raw / page), used, GREEN), refused, RED)
    return stack([grid, sheet([[fit(drawn, QA_PAGE)]], [], [], f"{page}: crops green, dropped faces red")])


def _choose(names: Sequence[str], count: int) -> list[str]:
    """Choose evenly over all pages, the same ones on every run."""
    if len(names) <= count:
        return list(names)
    picks = np.random.default_rng(0).permutation(len(names))[:count]
    return [names[index] for index in sorted(picks)]


if __name__ == "__main__":
    command(crop)
