"""A published page, and a browser to read it with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.tracking import Run
from stages.comparing.table import Table
from stages.page import page
from tests.comparing.tables import demo_table, write_data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HOSTILE = "<b>&\"'$x_1$|"
BREAKOUT = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
SETTINGS = {"sheet_faces": 3, "hero_faces": 3, "grid_faces": 5, "max_mb": 5.0, "study_pairs": 4}
FAILING = ("freeze_g", "flat", "s0", "", "features", 32)
Open = Callable[..., "Page"]


def hostile_table() -> Table:
    """Return a table whose names and texts would do harm where they are not escaped."""
    table = demo_table(seeds=("s0",), datasets=("flat", HOSTILE), methods=("baseline", "<i>m</i>".replace("/", "")))
    findings = table.about.findings | {"summary": {"flat": [BREAKOUT], HOSTILE: ["{{ 7 * 7 }}"]}}
    not_run = [{"metric": BREAKOUT, "reason": BREAKOUT}]
    about = replace(table.about, profile=BREAKOUT, findings=findings, not_run=not_run, missing=[BREAKOUT])
    return Table(table.cells, about)


def publish(folder: Path, table: Table | None = None, **changes: float) -> Path:
    """Write the data of a comparison and let the stage make its page.

    Returns: the folder of index.html.
    """
    params = folder / "params.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    params.write_text(json.dumps({"page": SETTINGS | changes}))  # JSON is YAML
    write_data(folder / "report" / "data", table)
    page(params, folder / "report" / "data", folder / "report", Run(folder / "run"))
    return folder / "report"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two datasets, three methods and three seeds, one cell of which fails a gate."""
    return publish(tmp_path_factory.mktemp("page"), demo_table(failing=FAILING))


@pytest.fixture
def show(chromium: Browser) -> Iterator[Open]:
    """Open a report's page; at the end of the test nothing may have been said on its console."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def opened(report: Path, width: int = 1280, scheme: str = "light", script: bool = True) -> Page:
        contexts.append(
            chromium.new_context(
                viewport={"width": width, "height": 800},
                color_scheme="dark" if scheme == "dark" else "light",
                java_script_enabled=script,
            )
        )
        found = contexts[-1].new_page()
        found.set_default_timeout(30_000)
        found.on("console", lambda message: said.append(message.text))
        found.on("pageerror", lambda error: said.append(str(error)))
        found.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        found.goto((report / "index.html").as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()
    assert said == []
