"""What follows a run: champions are considered and people are told. Nothing here changes what happened."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.jobs import Outcome
from pipeline.mirror import store_address
from pipeline.operating.settings import find_servers

log = logging.getLogger("run")


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    outcomes: Mapping[str, Outcome]
    rev: str
    commit: str | None  # that holds the result
    failed: str | None  # what went wrong
    began: float  # Unix time


def afterwards(root: Path, files: Path, profile: str, ending: Ending) -> None:
    """Consider champions, leave notes in Prefect; a failure of either is a warning.

    Args:
        root: the project, whose MLflow store is used.
        files: the working tree that holds the reports of this run.
        profile: whose run.
        ending: how it ended.
    """
    # One store for the project, whichever clone this works in; what holds them must not unpickle strangers' models.
    os.environ.setdefault("MLFLOW_TRACKING_URI", find_servers(root).mlflow or store_address(root))
    try:
        from pipeline.champions.registry import consider
        from pipeline.flows.notes import RunReport, publish

        verdicts = [] if ending.failed else consider(files, profile)
        report = RunReport(
            profile=profile, rev=ending.rev, commit=ending.commit, outcomes=list(ending.outcomes.values()),
            began=ending.began, ended=time.time(), verdicts=verdicts, failed=ending.failed,
        )  # fmt: skip
        publish(files, profile, report)
    except Exception as error:
        log.warning("no notes about this run: %s: %s", type(error).__name__, error)
