"""What there is to know about a packed dataset, as plain values: ``card.json``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.lmdb_write import Packing, Written
from model.data.statistics import colour, quantiles
from model.errors import CorruptInputError, MissingInputError
from model.files import MANIFEST, sha256_file, verify_manifest
from stages.packing.split import families

LISTED = 20  # groups named one by one
NAMED = {"format", "dataset", "source", "license", "permission", "count", "files", "dropped", "ignored"}

Parts = Mapping[str, Sequence[str]]  # train, heldout -> names of crops


@dataclass(frozen=True)
class Inputs:
    """What the images come from."""

    raw: Path
    crops: Path
    crawled: dict[str, Any]  # crawl.json
    report: dict[str, Any]  # report.json


def read_inputs(raw: Path, crops: Path) -> Inputs:
    """Read the records of both folders; the crops are verified, of the pictures only their record.

    Raises: MissingInputError or CorruptInputError naming what is missing or differs.
    """
    verify_manifest(crops)
    crawled = _read_record(raw, "crawl.json")
    return Inputs(raw, crops, crawled, json.loads((crops / "report.json").read_text()))


def _read_record(folder: Path, name: str) -> dict[str, Any]:
    """Read one JSON file of a published folder, after checking it alone: the others may be many gigabytes."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise MissingInputError(f"{folder}: no {MANIFEST}, so it is missing or unfinished; run the stage crawl again")
    try:
        listed = json.loads(manifest.read_bytes())["files"][name]["sha256"]
    except (ValueError, KeyError) as error:
        raise CorruptInputError(f"{manifest}: does not say what {name} is; run the stage crawl again") from error
    file = folder / name
    if not file.is_file() or sha256_file(file) != listed:
        raise CorruptInputError(f"{file}: missing, or not what {MANIFEST} says; run the stage crawl again")
    record: dict[str, Any] = json.loads(file.read_bytes())
    return record


def describe(
    inputs: Inputs, parts: Parts, packing: Packing, written: Mapping[str, Written], out: Path
) -> dict[str, Any]:
    """Return everything that the card shows.

    Args:
        inputs: records of pictures and crops.
        parts: which crops are in which part.
        packing: how they are stored.
        written: what was stored, by part.
        out: the published LMDB folder.
    """
    crawled, report = inputs.crawled, inputs.report
    return {
        "format": 1,
        "dataset": report["dataset"],
        "license": crawled["license"],
        "permission": crawled.get("permission", "none stated"),  # only kinds of source that need one state it
        "source": {"kind": crawled["source"], **{k: v for k, v in sorted(crawled.items()) if k not in NAMED}},
        "pictures": {"kept": crawled["count"], "dropped": len(crawled["dropped"]), "ignored": crawled["ignored"]},
        "faces": report["counts"],
        "dropped_faces": dict(Counter(reason(item) for item in report["dropped"]).most_common()),
        "detector": report["detector"],
        "near_copies": _near_copies(report),
        "storage": {"sizes": list(packing.sizes), "codec": packing.codec},
        "parts": {part: _part(names, report["crops"], written[part]) for part, names in parts.items()},
        "groups": _groups(crawled["files"], parts, report["crops"]),
        "hashes": {
            "raw": sha256_file(inputs.raw / MANIFEST), "faces": sha256_file(inputs.crops / MANIFEST),
            "lmdb": sha256_file(out / MANIFEST),
            **{f"content of {part}": one.content_sha256 for part, one in written.items()},
        },
    }  # fmt: skip


def reason(item: Mapping[str, Any]) -> str:
    """Return the kind of reason of a dropped face: ``too small``, ``border``, ``blurred`` ..."""
    return str(item["reason"]).partition(":")[0]


def _part(names: Sequence[str], crops: Mapping[str, Mapping[str, Any]], written: Written) -> dict[str, Any]:
    colours = colour(written.looks)
    return {
        "images": len(names),
        "groups": len({crops[name]["group"] for name in names}),
        "bytes": written.bytes,
        "mean": [round(value, 2) for value in colours.mean],
        "std": [round(value, 2) for value in colours.std],
        "sharpness": _rounded([look.sharpness for look in written.looks]),
        "score": _rounded([crops[name]["score"] for name in names]),
    }


def _rounded(values: Sequence[float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in quantiles(values).items()}


def _near_copies(report: Mapping[str, Any]) -> dict[str, int]:
    """Count sets of near copies, crops in them, and groups that they join."""
    crops = report["crops"]
    alike = [[name for name in names if name in crops] for names in report["near_duplicates"]]
    alike = [names for names in alike if len(names) > 1]
    found = families(crops, alike)
    return {
        "sets": len(alike),
        "crops": sum(map(len, alike)),
        "joined_groups": sum(len(family.groups) for family in found if len(family.groups) > 1),
    }


def _groups(files: Mapping[str, Mapping[str, Any]], parts: Parts, crops: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the number of groups, and the largest: pictures, crops, part, and where one picture comes from."""
    pictures = Counter(str(file["group"]) for file in files.values())
    origins = {str(file["group"]): str(file["origin"]) for _, file in sorted(files.items(), reverse=True)}
    used: Counter[tuple[str, str]] = Counter()
    for part, names in parts.items():
        used.update((part, str(crops[name]["group"])) for name in names)
    found = {group: (part, count) for (part, group), count in used.items()}
    order = sorted(pictures, key=lambda group: (-found.get(group, ("", 0))[1], group))
    largest = [
        {
            "group": group, "pictures": pictures[group], "crops": found.get(group, ("", 0))[1],
            "part": found.get(group, ("none", 0))[0], "origin": origins[group],
        }
        for group in order[:LISTED]
    ]  # fmt: skip
    return {"count": len(pictures), "with_crops": len(found), "largest": largest}
