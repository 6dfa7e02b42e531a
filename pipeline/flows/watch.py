"""The flow ``watch``: look at every dataset of a profile, so that what has changed is retrained."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from pipeline.profiles import dvcfile_of, name_of
from pipeline.watching.looks import Finding, Watch, datasets_of, look, read_watch
from pipeline.watching.manifests import Post, open_post

_BUG = 1


class WatchFailed(Exception):  # noqa: N818 (a result, named by what happened)
    """Some datasets could not be looked at; the others were."""

    def __init__(self, failed: list[Finding], exit_code: int) -> None:
        super().__init__("not looked at: " + "; ".join(f"{finding.dataset}: {finding.said}" for finding in failed))
        self.exit_code = exit_code


@flow(name="watch", flow_run_name="watch {profile} {dataset}", persist_result=False)
def watch(
    profile: str | None = None, dataset: str | None = None, branch: str | None = None, root: str | None = None
) -> list[dict[str, Any]]:
    """Look once at the datasets of a profile; take in what is new, ask for what is to be retrained.

    Args:
        profile: whose datasets; None means the root's own.
        dataset: the only one to look at; None means all.
        branch: of origin, that is watched and gets new manifests; None: what is checked out in ``root``.
        root: the project; None is this agent's clone, or the current folder.

    Returns: what was found, one mapping per dataset.
    Raises: WatchFailed after all have been looked at, if some could not be.
    """
    logger = get_run_logger()
    folder = Path(root or os.environ.get("CARTOON_CLONE") or ".").resolve()
    name = name_of(folder, profile)
    remote = os.environ.get("CARTOON_REMOTE") or None
    findings, codes = [], []
    with open_post(folder, name, branch, remote) as post:
        post.refresh()
        params = (post.folder / dvcfile_of(post.folder, profile)).with_name("params.yaml")
        settings = read_watch(params)
        if settings is None:
            logger.info("%s: no section `watch`, so nothing is watched", params)
            return []
        for one in datasets_of(params, dataset):
            finding, code = _look(post, name, one, settings, remote)
            logger.log(logging.ERROR if code else logging.INFO, "%s: %s %s", one, finding.state, finding.said)
            findings.append(finding)
            codes.append(code)
    table = [_row(finding) for finding in findings]
    create_table_artifact(table=table, key=f"watch-{_plain(name)}", description=f"Datasets of {name}, looked at now")
    if any(codes):
        failed = [finding for finding in findings if finding.state == "failed"]
        raise WatchFailed(failed, next(code for code in codes if code))
    return [asdict(finding) for finding in findings]


def _look(post: Post, profile: str, dataset: str, settings: Watch, remote: str | None) -> tuple[Finding, int]:
    """Look at one; whatever happens there, the others are looked at too."""
    try:
        return look(post, profile, dataset, settings, remote), 0
    except Exception as error:
        code = int(getattr(error, "exit_code", 0))
        if not code:
            get_run_logger().exception("%s: a failure that nobody foresaw", dataset)
        return Finding(dataset, "failed", " ".join(str(error).split()) or type(error).__name__), code or _BUG


def _row(finding: Finding) -> dict[str, str]:
    digest = finding.change.digest[:8] if finding.change else ""
    return {"dataset": finding.dataset, "state": finding.state, "version": digest, "said": finding.said}


def _plain(name: str) -> str:
    return name.replace("_", "-")
