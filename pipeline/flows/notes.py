"""Prefect artifacts of a finished run: the message, its stages as a table, and links. Keys repeat, so runs line up."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipeline.bulletin import Link, bulletin, faces, headline, stages_table
from pipeline.bulletin import RunReport as RunReport
from pipeline.operating.settings import find_servers
from pipeline.ui import sights

log = logging.getLogger("run")


def publish(root: Path, profile: str, report: RunReport) -> None:
    """Leave notes about a run in Prefect; call it inside the flow run, whether that succeeded or not.

    What cannot be told (no comparison yet, no MLflow, a server that refuses) is left out with a warning.

    Args:
        root: the project, with ``reports/<profile>``.
        profile: whose run.
        report: what happened.
    """
    reports, key, said = root / "reports" / profile, artifact_key(profile), headline(report)
    links = _links(root, profile)
    _tell(
        "message",
        lambda: _message(bulletin(report, reports / "data", reports / "hero.png", links), f"comparison-{key}", said),
    )
    _tell("pictures", lambda: _message(faces(reports / "sheets"), f"faces-{key}", f"{profile}: faces"))
    _tell("table of stages", lambda: create_table_artifact(stages_table(report.outcomes), f"stages-{key}", said))
    for link in links:
        _tell(
            "link",
            partial(create_link_artifact, link.address, link.title, f"{artifact_key(link.title)}-{key}", link.about),
        )


def _tell(what: str, create: Callable[[], object]) -> None:
    try:
        create()
    except Exception as error:  # of Prefect's client, or of a file: the run is over, and stays what it was
        log.warning("no %s about this run in Prefect: %s: %s", what, type(error).__name__, error)


def _message(text: str, key: str, about: str) -> None:
    if text:
        create_markdown_artifact(text, key, about)


def artifact_key(profile: str) -> str:
    """Return a profile's name as keys of artifacts may hold it."""
    return re.sub(r"[^a-z0-9]+", "-", profile.lower()).strip("-")


def _links(root: Path, profile: str) -> list[Link]:
    """Ask the MLflow server, if one runs, where its pages about this profile are."""
    server = find_servers(root).mlflow
    if not server:
        return []
    try:
        return [Link(*sight) for sight in sights(server, profile)]
    except Exception as error:
        log.warning("no links to MLflow about this run: %s: %s", type(error).__name__, error)
        return []
