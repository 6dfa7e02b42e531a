"""DVC stage ``crop``: find the faces on a dataset's pictures and cut a square around each."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from model.data.images import write_png
from model.data.workers import count_workers
from model.files import atomic_write_json, publish_folder, verify_manifest
from model.locks import alone
from model.progress import Progress
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.cropping.cutting import CutPage, CutSettings, cut_page
from stages.cropping.exclusions import Exclusion, read_exclusions
from stages.cropping.finder import Finder, choose_finder
from stages.cropping.pages import Page, plan_pages
from stages.cropping.pool import survivors
from stages.cropping.report import Book, nothing_left
from stages.cropping.review import ReviewHead, write_review
from stages.cropping.settings import CropParams
from stages.cropping.sheet import quality_sheet
from stages.entry import run as command
from stages.sources.settings import read_source
from stages.sources.shelf import check_budget

WHOLE_BITS = 5  # of 64: whole images that look alike are reported, never dropped

log = logging.getLogger(__name__)


def crop(params: Path, dataset: str, raw: Path, out: Path, run: Run) -> None:
    """Cut the faces of the pictures in --raw into --out/crops; write a report, a sheet and a page to look at."""
    settings = read_section(params, "crop", CropParams)
    source = read_source(params, dataset)
    key = f"datasets.{dataset}"
    exclusions = read_exclusions(Path(source.exclude), f"{key}.exclude")
    finder = choose_finder(source.face, settings, f"{key}.face")
    verify_manifest(raw)
    files: dict[str, Any] = json.loads((raw / "crawl.json").read_text())["files"]
    with alone(out), publish_folder(out) as folder:
        (folder / "crops").mkdir()
        with Book(folder / "crops", files) as book:
            _cut_all(book, raw, finder, settings)
            stale = _filter(book, finder, exclusions)
            if not book.crops:
                raise nothing_left(book, source.face)
            report = {
                "format": 2,
                "dataset": dataset,
                "resolution": settings.resolution,
                "detector": None if finder is None else finder.describe(),
                "stale_exclusions": [{"line": line.number, "text": line.text} for line in stale],
                **book.record(),
            }
            atomic_write_json(folder / "report.json", report)
            write_png(
                folder / "qa.png", quality_sheet(raw, dataset, settings.resolution, book, boxes=finder is not None)
            )
            write_review(
                folder, book, exclusions, ReviewHead(dataset, source.exclude, str(params), settings.resolution)
            )
    if stale:
        lines = ", ".join(str(line.number) for line in stale)
        log.warning("%s: lines that mean no face found now: %s; remove them, or leave them", source.exclude, lines)
    by_reason = {f"dropped_{kind.replace(' ', '_')}": count for kind, count in report["dropped_by_reason"].items()}
    run.log_metrics(report["counts"] | by_reason)
    run.log_image("crops", out / "qa.png")
    run.log_artifact(out / "report.json")


def _cut_all(book: Book, raw: Path, finder: Finder | None, settings: CropParams) -> None:
    """Work through all pages; stop as soon as more are bad than may be."""
    pages = plan_pages(book.files, join=finder is not None)
    work = partial(cut_page, CutSettings(raw, settings.resolution, finder))
    workers = count_workers(settings.workers, "crop.workers")
    total = len(book.files)
    with Progress("crop faces", total, "pages") as progress:
        for page, cut in survivors(work, pages, workers, _lost):
            book.add([picture.name for picture in page.pictures], page.strip, cut)
            check_budget(
                len(book.unreadable), total, settings.max_bad_fraction, "crop.max_bad_fraction", book.unreadable
            )
            progress.update(len(page.pictures), f"{len(book.crops)} faces")


def _lost(page: Page) -> CutPage:
    reason = "the process that worked on it was killed twice, the second time alone; the usual reason is lack of memory"
    return CutPage((), tuple((picture.name, reason) for picture in page.pictures), ())


def _filter(book: Book, finder: Finder | None, exclusions: list[Exclusion]) -> list[Exclusion]:
    """Drop what a person excluded, and near duplicates if that is asked for; return lines that mean nothing."""
    filters = None if finder is None else finder.settings.filters
    book.find_alike(WHOLE_BITS if filters is None else filters.duplicate_bits)
    stale = book.exclude(exclusions)
    if filters is not None and filters.near_duplicates == "drop":
        book.drop_alike()
    return stale


if __name__ == "__main__":
    command(crop)
