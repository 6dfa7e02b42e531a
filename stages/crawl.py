"""DVC stage ``crawl``: gather a dataset's pictures, checked, with source and licence, into one folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.errors import UsageError
from model.files import atomic_write_json, publish_folder
from model.locks import alone
from pipeline.tracking import Run
from stages.entry import run as command
from stages.sources.gather import Context, gather
from stages.sources.settings import read_source, read_web


def crawl(params: Path, dataset: str, scratch: Path, out: Path, run: Run) -> None:
    """Gather the pictures of --dataset into the folder --out, with ``crawl.json`` saying where each came from.

    What comes from the web is kept in --scratch and not asked for again.
    """
    key = f"datasets.{dataset}"
    source = read_source(params, dataset)
    context = Context(scratch, read_web(params))
    with alone(out), publish_folder(out) as folder:
        record = gather(source, folder, key, context)
        count = len(record["files"])
        if not count:
            reasons = ", ".join(f"{number} {reason}" for reason, number in record["reasons"].items()) or "none"
            raise UsageError(
                f"{key}: gathers no pictures (dropped: {reasons}); look at {source.where} and its settings"
            )
        head: dict[str, Any] = {"format": 2, "dataset": dataset, "source": source.source, "license": source.license}
        head |= {"count": count, "settings": asdict(source)}
        atomic_write_json(folder / "crawl.json", {**head, **record})
    run.log_metrics({"pictures": count, "dropped": len(record["dropped"])})
    run.log_artifact(out / "crawl.json")


if __name__ == "__main__":
    command(crawl)
