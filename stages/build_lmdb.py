"""DVC stage ``lmdb``: pack face crops into a training and a held-out LMDB, with a card that says what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.images import write_png
from model.data.lmdb_write import Packing, Written, write_lmdb
from model.data.workers import count_workers
from model.errors import UsageError
from model.files import MANIFEST, atomic_write_json, atomic_write_text, publish_folder, sha256_file
from model.locks import alone
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as command
from stages.packing.card import as_markdown, example_sheet
from stages.packing.split import SplitSettings, split
from stages.packing.statistics import Inputs, describe, read_inputs


@dataclass(frozen=True)
class LmdbParams:
    """Settings of the stage."""

    sizes: list[int]  # px, of the square images written; training reads that of its networks
    codec: str  # png is lossless; jpeg artefacts move FID
    workers: int | str  # processes, or auto; the content does not depend on it
    heldout_fraction: float  # share of the images that training never sees
    min_heldout: int  # images; fewer cannot be measured against

    def __post_init__(self) -> None:
        """Refuse what cannot be written, and a division that leaves one part empty."""
        self.division  # noqa: B018 (checks)

    @property
    def division(self) -> SplitSettings:
        """How much is held out."""
        return SplitSettings(self.heldout_fraction, self.min_heldout)


def build_lmdb(params: Path, raw: Path, crops: Path, out: Path, card: Path, run: Run) -> None:
    """Write the crops in --crops to --out/train and --out/heldout, no episode in both; describe them in --card.

    The pictures in --raw are those that the crops were cut from: their record says where they come from.
    """
    settings = read_section(params, "lmdb", LmdbParams)
    packing = Packing(settings.sizes, settings.codec, count_workers(settings.workers, "lmdb.workers"))
    inputs = read_inputs(raw, crops)
    _check_sizes(settings, inputs)
    report = inputs.report
    parts = split(report["crops"], report["near_duplicates"], settings.division, crops)
    with alone(out):
        with publish_folder(out) as folder:
            written = {part: _write_part(folder / part, inputs, names, packing) for part, names in parts.items()}
            groups = {part: sorted({report["crops"][name]["group"] for name in names}) for part, names in parts.items()}
            atomic_write_json(folder / "split.json", {"format": 1, "images": parts, "groups": groups})
        facts = describe(inputs, parts, packing, written, out)
        with publish_folder(card) as folder:
            atomic_write_json(folder / "card.json", facts)
            atomic_write_text(folder / "card.md", as_markdown(facts))
            write_png(folder / "card.png", example_sheet(facts["dataset"], crops, parts))
    _record(run, facts, out, card)


def _write_part(folder: Path, inputs: Inputs, names: list[str], packing: Packing) -> Written:
    return write_lmdb(folder, [inputs.crops / "crops" / name for name in names], names, packing)


def _check_sizes(settings: LmdbParams, inputs: Inputs) -> None:
    largest, found = max(settings.sizes, default=0), inputs.report["resolution"]
    if largest > found:
        raise UsageError(
            f"lmdb.sizes: {largest} px, but the crops in {inputs.crops} have {found} px, and nothing is enlarged; "
            "raise crop.resolution or lower lmdb.sizes"
        )


def _record(run: Run, facts: dict[str, Any], out: Path, card: Path) -> None:
    run.log_metrics({f"{part}_images": entry["images"] for part, entry in facts["parts"].items()})
    run.log_metrics({f"{part}_bytes": entry["bytes"] for part, entry in facts["parts"].items()})
    run.log_artifact(out / "split.json")
    largest = max(facts["storage"]["sizes"])
    profile = {"license": facts["license"], **{part: entry["images"] for part, entry in facts["parts"].items()}}
    shape = [-1, largest, largest, 3]
    digest = sha256_file(out / "train" / MANIFEST)  # by which trainings know it, too
    run.log_dataset(facts["dataset"], digest, str(out), shape, profile, context="build")
    for name in ("card.md", "card.json"):
        run.log_artifact(card / name)
    run.log_image("card", card / "card.png")


if __name__ == "__main__":
    command(build_lmdb)
