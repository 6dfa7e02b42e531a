"""Detectors and alignment on annotated faces: recall, precision, error of FFHQ's square, and what is missed.

python -m benchmarks.faces --data FOLDER [--out FOLDER] [--json OUT.json]
FOLDER is laid out as the tests of real data want it (CARTOON_REAL_DATA).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.face_truth import (
    Outcome,
    Picture,
    after,
    by_centre,
    by_overlap,
    comics,
    fitted,
    judge,
    photos,
    precision,
    recall,
)
from model.data.faces.align import Float, ffhq_quad, quad_side
from model.data.faces.boxes import Box, Face
from model.data.faces.cascade import Cascade, CascadeSettings
from model.data.faces.detector import Detector, find_faces, shipped_file
from model.data.faces.yunet import Yunet, YunetSettings
from model.data.images import UInt8, read_image, write_png
from model.data.sheets import fit, sheet
from pipeline.params import read_section
from stages.crop import CropParams

UInt = npt.NDArray[np.uint8]
PAPER = Path("profiles/paper/params.yaml")
SMALLEST = 24  # px of the faces that count on comic pages
TILE, COLUMNS, AROUND = 128, 10, 2.2  # of the sheets: px, tiles, sides of the face
Search = Callable[[UInt8], list[Face]]
HEAD = ("set and detector", "n", "recall", "precision", "false", "R, IoU", "P, IoU", "R, fitted", "P, fitted")
ALIGN_HEAD = ("FFHQ's square by YuNet, against", "n", "corners: mean, median, max", "turn: mean, median, max", "side")


def whole(detector: Detector) -> Search:
    return detector.detect


def tiled(detector: Detector) -> Search:
    return lambda image: find_faces(image, detector)


def cascade(file: Path, scale_factor: float, min_neighbors: int, **switches: bool | int) -> Cascade:
    chosen = {"mirror": False, "equalise": False, "min_face": SMALLEST} | switches
    return Cascade(CascadeSettings("cascade", str(file), scale_factor, min_neighbors, **chosen), file, "--data")  # type: ignore[arg-type]


def yunet(data: Path, min_score: float, min_face: int = SMALLEST) -> Yunet:
    file = data / "detectors" / "yunet_n_640_640.onnx"
    return Yunet(YunetSettings("yunet", str(file), min_score, min_face, 2048), file, "--data")


def paper_anime(data: Path, min_face: int) -> Cascade:
    """The cascade as profiles/paper has it, but for the size of the smallest face."""
    settings = read_section(PAPER, "crop", CropParams).faces["anime"].detector
    assert isinstance(settings, CascadeSettings)
    return Cascade(replace(settings, min_face=min_face), data / "detectors" / "lbpcascade_animeface.xml", "--data")


def photo_searches(data: Path) -> dict[str, Search]:
    haar = {name: shipped_file(f"haarcascade_frontalface_{name}.xml", "--data") for name in ("default", "alt2")}
    lbp = data / "detectors" / "lbpcascade_frontalface.xml"
    return {
        "Haar default, 1.1, 5": whole(cascade(haar["default"], 1.1, 5)),
        "Haar alt2, 1.1, 5": whole(cascade(haar["alt2"], 1.1, 5)),
        "Haar alt2, 1.1, 8, mirror": whole(cascade(haar["alt2"], 1.1, 8, mirror=True)),
        "LBP frontal, 1.1, 5": whole(cascade(lbp, 1.1, 5)),
        "YuNet, 0.8": whole(yunet(data, 0.8)),
    }


def comic_searches(data: Path) -> dict[str, Search]:
    anime = data / "detectors" / "lbpcascade_animeface.xml"
    return {
        "anime, 1.1, 5 (its README)": tiled(cascade(anime, 1.1, 5)),
        "anime, 1.1, 5, equalise": tiled(cascade(anime, 1.1, 5, equalise=True)),
        "anime, 1.1, 5, mirror": tiled(cascade(anime, 1.1, 5, mirror=True)),
        "anime, 1.05, 10": tiled(cascade(anime, 1.05, 10)),
        "anime, 1.05, 20, mirror": tiled(cascade(anime, 1.05, 20, mirror=True)),
        "anime, 1.05, 20, mirror, equalise": tiled(cascade(anime, 1.05, 20, mirror=True, equalise=True)),
        "anime as in profiles/paper": tiled(paper_anime(data, SMALLEST)),
        "the same, strips not tiled": whole(paper_anime(data, SMALLEST)),
        "Haar alt2, 1.1, 5": tiled(cascade(shipped_file("haarcascade_frontalface_alt2.xml", "--data"), 1.1, 5)),
        "YuNet, 0.8": tiled(yunet(data, 0.8)),
        "YuNet, 0.6": tiled(yunet(data, 0.6)),
        "YuNet, 0.6, strips not tiled": whole(yunet(data, 0.6)),
    }


def head(*cells: str) -> None:
    print(f"\n| {' | '.join(cells)} |\n|{'---|' * len(cells)}")


def table(title: str, pictures: Sequence[Picture], searches: dict[str, Search]) -> dict[str, list[Outcome]]:
    """Print a row per search: matched by centre and size; by IoU 0.5; and so after the best constant change."""
    head(*HEAD)
    results = {}
    for name, search in searches.items():
        found = [search(read_image(picture.path)) for picture in pictures]
        results[name] = outcomes = judged(pictures, found)
        change = fitted(outcomes)
        n = sum(len(outcome.pairs) + len(outcome.missed) for outcome in outcomes)
        cells = [f"{recall(outcomes):.2f}", f"{precision(outcomes):.2f}", str(sum(len(o.wrong) for o in outcomes))]
        for rule in (by_overlap, after(change)):
            strict = [judge(picture, faces, rule) for picture, faces in zip(pictures, found, strict=True)]
            cells += [f"{recall(strict):.2f}", f"{precision(strict):.2f}"]
        print(f"| {title}: {name} | {n} | {' | '.join(cells)} |", flush=True)
    return results


def judged(pictures: Sequence[Picture], found: Sequence[Sequence[Face]]) -> list[Outcome]:
    return [judge(picture, faces, by_centre) for picture, faces in zip(pictures, found, strict=True)]


def difference(found: Float, true: Float) -> tuple[float, float, float]:
    """How a square differs from the true one: corners (mean, share of the side), turn (degrees), ratio of sides."""
    side = quad_side(true)
    turns = [np.degrees(np.arctan2(*(quad[3] - quad[0])[::-1])) for quad in (found, true)]
    turn = (turns[0] - turns[1] + 180) % 360 - 180
    return float(np.hypot(*(found - true).T).mean() / side), abs(float(turn)), quad_side(found) / side


def alignment(name: str, errors: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    corner, turn, side = (np.array(column) for column in zip(*errors, strict=True))
    print(
        f"| {name} | {len(errors)} | {corner.mean():.3f}, {np.median(corner):.3f}, {corner.max():.3f} | "
        f"{turn.mean():.1f}, {np.median(turn):.1f}, {turn.max():.1f} | {side.mean():.3f} |"
    )
    return {"n": len(errors), "corner_mean": float(corner.mean()), "corner_max": float(corner.max())}


def align_photos(outcomes: Sequence[Outcome]) -> list[tuple[float, float, float]]:
    """FFHQ's square from YuNet's five points against that from the 68 annotated ones."""
    pairs = [(face.landmarks, truth.landmarks) for outcome in outcomes for face, truth in outcome.pairs]
    return [difference(ffhq_quad(five, 1.0), ffhq_quad(full, 1.0)) for five, full in pairs if five and full]


def align_aligned(data: Path) -> list[tuple[float, float, float]]:
    """FFHQ's square on photographs of FFHQ: it should be the photograph itself."""
    detector, errors = yunet(data, 0.8, 64), []
    for path in sorted([*(data / "photo_faces/ffhq1024").iterdir(), *(data / "photo_faces/ffhq512").iterdir()]):
        image = read_image(path)
        side = image.shape[0]
        face = max(detector.detect(image), key=lambda found: found.box.width)
        assert face.landmarks is not None
        frame = np.array([[0, 0], [0, side], [side, side], [side, 0]]) - 0.5
        errors.append(difference(ffhq_quad(face.landmarks, 1.0), frame))
    return errors


def kinds(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Kind of face: how many were found, of how many."""
    found = Counter(truth.why_hard for outcome in outcomes for _, truth in outcome.pairs)
    missed = Counter(truth.why_hard for outcome in outcomes for truth in outcome.missed)
    return {kind: (found[kind], found[kind] + missed[kind]) for kind in sorted({*found, *missed})}


def draw(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write one sheet per kind of miss, one of false alarms and one of what was found."""
    groups: dict[str, list[tuple[Path, Box]]] = {}
    for outcome in outcomes:
        path = outcome.picture.path
        for truth in outcome.missed:
            groups.setdefault(f"missed {truth.why_hard}", []).append((path, truth.box))
        groups.setdefault("false alarms", []).extend((path, face.box) for face in outcome.wrong)
        groups.setdefault("found", []).extend((path, face.box) for face, _ in outcome.pairs)
    for name, boxes in groups.items():
        if not boxes:
            continue
        tiles = [cut(read_image(path), box) for path, box in boxes]
        notes = [f"{path.stem[:18]} {box.x},{box.y}" for path, box in boxes]
        rows = [slice(start, start + COLUMNS) for start in range(0, len(tiles), COLUMNS)]
        drawn = sheet([tiles[row] for row in rows], [], [], f"{name}: {len(boxes)}", [notes[row] for row in rows])
        write_png(out / f"{name.replace(', ', ' ').replace(' ', '-')}.png", drawn)


def cut(image: UInt, box: Box) -> UInt:
    """Cut a face with its surroundings, for people to look at."""
    reach = max(box.width, box.height) * AROUND / 2
    x, y = box.x + box.width / 2, box.y + box.height / 2
    part = image[max(0, int(y - reach)) : int(y + reach), max(0, int(x - reach)) : int(x + reach)]
    grown = part.repeat(-(-TILE // max(part.shape[:2])), 0).repeat(-(-TILE // max(part.shape[:2])), 1)
    return fit(np.ascontiguousarray(grown), TILE)


def measure(data: Path) -> tuple[dict[str, Any], list[Outcome]]:
    on_photos = table("photos", photos(data / "photo_scenes" / "dlib"), photo_searches(data))
    head(*ALIGN_HEAD)
    aligned = {
        "68 annotated points": alignment("68 annotated points", align_photos(on_photos["YuNet, 0.8"])),
        "photographs of FFHQ": alignment("photographs of FFHQ", align_aligned(data)),
    }
    pages = [picture.from_px(SMALLEST) for picture in comics(data)]
    on_comics = table("comics", pages, comic_searches(data))
    large = [picture.from_px(64) for picture in comics(data)]
    table("comics, faces from 64 px", large, {"anime as in profiles/paper": tiled(paper_anime(data, 64))})
    chosen = on_comics["anime as in profiles/paper"]
    head("kind of face", "found by the anime cascade", "by YuNet, 0.6", "of")
    other = kinds(on_comics["YuNet, 0.6"])
    for kind, (found, total) in kinds(chosen).items():
        print(f"| {kind} | {found} | {other[kind][0]} | {total} |")
    rows = {
        name: {"recall": recall(outcomes), "precision": precision(outcomes)}
        for results in (on_photos, on_comics) for name, outcomes in results.items()
    }  # fmt: skip
    return {"rows": rows, "alignment": aligned, "kinds": kinds(chosen)}, chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real images and detectors")
    parser.add_argument("--out", type=Path, help="draw what the anime cascade misses here, a sheet per kind")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    result, chosen = measure(arguments.data)
    if arguments.out:
        draw(chosen, arguments.out)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
