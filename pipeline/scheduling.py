"""How stages are scheduled: the section ``scheduling`` of a params file. No stage depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.params import read_params, read_section


@dataclass(frozen=True)
class Scheduling:
    """Settings of `cartoon-pipeline run` and its agents."""

    short: list[str]  # kinds of stages that take seconds here; several run as one job
    retry_s: list[float]  # s before each further try of a stage that network trouble ended
    start_s: float  # s for a job that an agent has taken to begin; then another agent gets it


_PLAIN = Scheduling(short=[], retry_s=[10.0, 60.0, 300.0], start_s=300.0)  # a project that says nothing of it


def read_scheduling(params: Path) -> Scheduling:
    """Read the section of a params file; a pipeline without one has jobs of single chains.

    Raises: ParamsError for a section that is wrong.
    """
    if not params.exists() or "scheduling" not in read_params(params):
        return _PLAIN
    return read_section(params, "scheduling", Scheduling)
