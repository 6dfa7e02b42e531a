"""Runs in an MLflow store: each found again by its journal's id, each told whether a newer one has taken its place.

The tag ``latest`` says which records of a stage to look at, in one profile (an MLflow experiment): ``true`` for the
newest run that finished and for the newest run (mostly the same), ``false`` for all others. So the filter
``tags.latest = 'true'`` shows what holds, and beside it what goes on or went wrong since. Cells carry the tag of the
run they belong to. Newer is what began later, in whatever order the records arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

JOURNAL_ID = "journal.id"
LATEST = "latest"
STAGE = "dvc.stage"
PARENT = "mlflow.parentRunId"
_PAGE = 1000  # runs per call


def find_or_create(client: MlflowClient, experiment: str, name: str, begun: int, tags: dict[str, str]) -> Run:
    """Return the run whose tag ``journal.id`` is the given one; there is exactly one afterwards.

    A server may have carried out a creation whose answer was lost; of such twins the fuller one stays.
    """
    tags = tags | {JOURNAL_ID: _plain(tags[JOURNAL_ID])}
    mine = f"tags.`{JOURNAL_ID}` = '{tags[JOURNAL_ID]}'"
    found = search(client, experiment, mine)
    if not found:
        client.create_run(experiment, start_time=begun, tags=tags, run_name=name)
        found = search(client, experiment, mine)
    first, *twins = sorted(found, key=lambda run: (-len(run.data.metrics), -len(run.data.tags), run.info.run_id))
    for twin in twins:
        client.delete_run(twin.info.run_id)
    return first


def settle(client: MlflowClient, run: Run) -> None:
    """Bring the tag ``latest`` of all runs of one stage up to date, of their cells first.

    A parent is marked after its cells, so that work cut short anywhere is seen and done by the next call.
    """
    stage = run.data.tags.get(STAGE)
    if stage is None:
        return
    experiment = run.info.experiment_id
    runs = [
        found
        for found in search(client, experiment, f"tags.`{STAGE}` = '{_plain(stage)}'")
        if PARENT not in found.data.tags
    ]
    for other, shown in zip(runs, _latest(runs), strict=True):
        if other.data.tags.get(LATEST) == shown:
            continue
        for cell in search(client, experiment, f"tags.`{PARENT}` = '{other.info.run_id}'"):
            if cell.data.tags.get(LATEST) != shown:
                client.set_tag(cell.info.run_id, LATEST, shown)
        client.set_tag(other.info.run_id, LATEST, shown)


def _latest(runs: Sequence[Run]) -> list[str]:
    """Return the tag of every run of one stage: the newest one, and the newest one that finished."""
    began = [(run.info.start_time, run.data.tags.get(JOURNAL_ID, "")) for run in runs]
    ended = [when for run, when in zip(runs, began, strict=True) if run.info.status == "FINISHED"]
    shown = {max(some) for some in (began, ended) if some}
    return ["true" if when in shown else "false" for when in began]


def _plain(text: str) -> str:
    """Names that people give may hold quotes, which no filter can."""
    return text.replace("'", "_")


def search(client: MlflowClient, experiment: str, where: str) -> list[Run]:
    """Return all runs that a filter finds."""
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], where, max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
