"""A dataset of webtoon titles, and the stage and command that gather it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.sources import __main__ as datasets
from stages.sources.webtoon.manifest import FILE
from tests.stages.world import Bench

ROOT = Path(__file__).resolve().parents[3]
TITLE = "en/95"


def add(bench: Bench, titles: list[str], stated: list[str] | None = None, **changes: object) -> None:
    where = bench.home / "toon"
    where.mkdir(exist_ok=True)
    entries = [{"title": title, "permission": "mine", "rights": "Me, 2024"} for title in stated or titles]
    (where / "permission.yaml").write_text(json.dumps({"titles": entries}))
    bench.dataset("toon", "webtoon", where, titles=titles, **{"max_episodes": None, **changes})


def crawl(bench: Bench) -> Path:
    """Gather into the same scratch folder as the commands use."""
    from stages.crawl import crawl as stage

    out = bench.home / "raw" / "toon"
    stage(bench.params, "toon", bench.home / "scratch" / "bench" / "crawl" / "toon", out, bench.run)
    return out


def update(bench: Bench, *arguments: str) -> int:
    _ = bench.params
    return datasets.main(["update", *arguments])


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "crawl.json").read_text())  # type: ignore[no-any-return]


def manifest(bench: Bench) -> dict[str, Any]:
    return json.loads((bench.home / "toon" / FILE).read_text())["titles"]  # type: ignore[no-any-return]


def numbers(bench: Bench, title: str = TITLE) -> list[int]:
    return [episode["number"] for episode in manifest(bench)[title]["episodes"]]


def update_raises(bench: Bench) -> None:
    from stages.sources.gather import Context
    from stages.sources.settings import WebtoonSource, read_source, read_web
    from stages.sources.webtoon.update import open_desk
    from stages.sources.webtoon.update import update as take

    source = read_source(bench.params, "toon")
    assert isinstance(source, WebtoonSource)
    context = Context(bench.home / "other", read_web(bench.params))
    with open_desk(source, "datasets.toon", context) as desk:
        take(source, "datasets.toon", desk, source.titles)
