"""DVC stage ``plan``: one method, resolved, with a fingerprint of the code that will train it.

``train`` depends on this file instead of on the code, so that a comment, or a technique the method does not use,
retrains nothing: the fingerprint is of syntax trees without docstrings and comments.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from model.files import atomic_write_json, sha256_file
from model.shipped import shipped
from pipeline.params import ParamsError, read_params
from stages.entry import run

ROOT = Path(__file__).resolve().parent.parent
FINETUNE = ROOT / "model" / "finetune"
STAGES = ("train", "session", "snapshots")
STYLE_NET = "style_net"  # the weights that they read
METRICS = ("features", "frechet", "kid", "memorisation", "nets", "prdc")  # what snapshots are judged with


def plan(params: Path, method: str, out: Path) -> None:
    """Write the techniques of --method and the fingerprint of their code to --out (JSON)."""
    methods = read_params(params).get("methods")
    if not isinstance(methods, dict) or not isinstance(methods.get(method), dict) or not methods[method]:
        known = sorted(methods) if isinstance(methods, dict) else "a mapping"
        raise ParamsError(
            f"{params}: methods.{method}: expected a mapping of techniques to settings; methods there: {known}"
        )
    techniques = methods[method]
    for name in techniques:
        if not (FINETUNE / f"{name}.py").is_file() or name in {"technique", "__init__"}:
            known = sorted(p.stem for p in FINETUNE.glob("*.py") if p.stem not in {"technique", "__init__"})
            raise ParamsError(f"{params}: methods.{method}: unknown technique {name!r}, expected some of {known}")
    atomic_write_json(
        out, {"format": 1, "method": method, "techniques": techniques, "code": fingerprints(list(techniques))}
    )


def fingerprints(techniques: list[str]) -> dict[str, str]:
    """Return file -> digest of every source file that the training of these techniques runs."""
    files = [FINETUNE / f"{name}.py" for name in ["__init__", "technique", *techniques]]
    for folder in ("networks", "ops", "training"):
        files += (ROOT / "model" / folder).rglob("*.py")
    files += [ROOT / "stages" / f"{name}.py" for name in STAGES] + [ROOT / "model" / "data" / "dataset.py"]
    files += [ROOT / "model" / "metrics" / f"{name}.py" for name in METRICS]
    if not {"ada", "augment"} & set(techniques):
        files = [path for path in files if path.parent == FINETUNE or not path.stem.startswith("augment")]
    weights = shipped(STYLE_NET)
    judge = {weights.relative_to(ROOT).as_posix(): sha256_file(weights)}
    return judge | {path.relative_to(ROOT).as_posix(): fingerprint(path) for path in sorted(set(files))}


def fingerprint(path: Path) -> str:
    """Return a digest of a Python file's syntax tree without docstrings, comments and layout."""
    tree = ast.parse(path.read_text(), filename=str(path))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


if __name__ == "__main__":
    run(plan)
