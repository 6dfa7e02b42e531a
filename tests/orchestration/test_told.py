"""A finished run as a stranger meets it: the notes in Prefect's own pages, the champion in a real MLflow server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.champions.contests import Cell, write_comparison, write_params
from tests.orchestration.platform import Server, answers, free_port, started, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.orchestration]

TELL = """
import sys, time
from pathlib import Path
from prefect import flow
from pipeline.bulletin import RunReport
from pipeline.flows.notes import publish
from pipeline.jobs import Outcome
from pipeline.champions.registry import consider

@flow(name="reproduce")
def tell():
    root, now = Path.cwd(), time.time()
    ran = [Outcome("train@freeze_sg-flat-s0", "ran", 0, 61.0, "host/gpu-0"), Outcome("crop@flat", "cached")]
    publish(root, "demo", RunReport("demo", "a" * 40, "b" * 40, ran, now - 75, now, consider(root, "demo"), None))

tell()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    write_params(root)
    write_comparison(root, [Cell()])
    reports = root / "reports" / "demo"
    measured = {"gates": {"memorisation": "pass"}, "no_swap": {"kid": 47.4, "similarity": 0.5}}
    (reports / "data" / "metrics.json").write_text(json.dumps({"flat": {"freeze_sg": measured}}))
    Image.new("RGB", (1200, 300), (200, 30, 30)).save(reports / "hero.png")
    return root


@pytest.fixture
def mlflow_server(project: Path, server: Server) -> Iterator[str]:
    """A real one, that keeps the artifacts itself."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{project.parent}/mlflow.db",
        "--artifacts-destination", str(project.parent / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    with started(command, project.parent, server.environment(), project.parent / "mlflow.log"):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 180, "the start of MLflow's server")
        yield f"http://127.0.0.1:{port}"


def test_a_finished_run_can_be_read_in_prefects_pages_and_its_champion_fetched_from_mlflow(
    project: Path,
    server: Server,
    mlflow_server: str,
    chromium: Browser,
) -> None:
    environment = server.environment(MLFLOW_TRACKING_URI=mlflow_server)
    subprocess.run([sys.executable, "-c", TELL], cwd=project, env=environment, check=True, timeout=300)
    out = project / "champion.safetensors"
    export = [sys.executable, "-m", "pipeline.cli", "champion", "export", "flat", "--out", str(out)]
    subprocess.run(export, cwd=project, env=environment, check=True, timeout=120)
    assert out.read_bytes() == Cell().content

    found = {one["key"]: one for one in server.call("POST", "/artifacts/filter", {"limit": 50})}
    assert {"comparison-demo", "stages-demo", "champions-demo", "newest-runs-demo"} <= set(found)
    assert mlflow_server in found["champions-demo"]["data"]
    page = chromium.new_page(viewport={"width": 1400, "height": 1400})
    page.goto(f"{server.api.removesuffix('/api')}/v2/artifacts/artifact/{found['comparison-demo']['id']}")
    for words in ("demo finished in 1 min 15 s", "flat: first champion", "The first one that passes the gates"):
        page.get_by_text(words).first.wait_for(timeout=60_000)
    page.wait_for_function("[...document.images].some(image => image.naturalWidth === 1200)", timeout=30_000)
    assert page.get_by_role("cell", name="freeze sg").is_visible()
    page.close()
