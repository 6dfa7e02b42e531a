"""A project whose generators are registered in a real MLflow store."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from pipeline.champions.models import Model
from pipeline.champions.registry import Verdict, consider
from tests.champions.contests import Cell, write_comparison, write_params

NAME = "cartoon-demo-flat"
BETTER = Cell("freeze_g", kid=48.0, similarity=0.6)
WORSE = Cell("freeze_g", kid=60.0, similarity=0.4)


def make_project(root: Path, store: Path) -> Path:
    (root / "mlruns").mkdir(parents=True)
    shutil.copyfile(store, root / "mlruns" / "mlflow.db")
    write_params(root)
    write_comparison(root, [Cell()])
    return root


def registered(root: Path) -> Model:
    address = f"sqlite:///{root}/mlruns/mlflow.db"
    return Model(MlflowClient(address, registry_uri=address), NAME)


def aliases(root: Path) -> tuple[int | None, int | None]:
    return registered(root).alias("champion"), registered(root).alias("previous")


def heard(root: Path, *cells: Cell, **changed: str) -> Verdict:
    write_comparison(root, cells, **changed)
    (verdict,) = consider(root, "demo")
    return verdict


def snapshot(root: Path) -> dict[str, Any]:
    """All that the registry holds, without times and ids."""
    model = registered(root)
    versions = [
        {
            **version.tags,
            "version": version.version,
            "about": version.description,
            "file": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for version in model.versions()
        for file in [Path(str(version.source).removeprefix("file://")) / "generator.safetensors"]
    ]
    moves = [(move.what, move.version, move.before, move.why, move.numbers) for move in model.history()]
    runs = MlflowClient(f"sqlite:///{root}/mlruns/mlflow.db").search_runs(["1"])
    ended = sorted((run.info.run_name, run.info.status, str(run.data.metrics)) for run in runs)
    return {"versions": versions, "moves": moves, "aliases": aliases(root), "runs": ended}
