"""What a registered version holds: the generator, its manifest, how it was made and is used, and a picture of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.champions.candidates import Candidate, CandidateError, Contest
from pipeline.champions.models import SHA256, RegistryError
from pipeline.journal import Entry
from pipeline.mirror import MlflowMirror, store_address
from pipeline.provenance import git_state

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

FOLDER = "model"  # among the artifacts of the run
GENERATOR, RECIPE, SHEET = "generator.safetensors", "recipe.json", "swaps.png"
_USE = f"cartoon generate --weights {GENERATOR} --seeds 0-15 --out faces.png"


def describe(contest: Contest) -> tuple[str, dict[str, str]]:
    """Return description and tags of a registered model."""
    export = _export(contest)
    text = (
        f"The best generator of the dataset **{contest.dataset}**, profile **{contest.profile}**: alias `champion`.\n\n"
        f"```\n{export}\n{_USE}\n```\n\n"
        "Tags `history.NNNN` say when the champion changed, and why."
    )
    return text, {"profile": contest.profile, "dataset": contest.dataset}


def recipe(root: Path, contest: Contest, one: Candidate) -> dict[str, Any]:
    """Return what a generator is, how to use it, and how to make it again."""
    about = contest.about
    kind = about["settings"]["kinds"].get(one.swap)
    weights = about["facts"][contest.dataset]["weights"].get(f"{one.method}-{one.dataset}-{one.seed}", {})
    export = _export(contest)
    return {
        "what": {
            **{name: getattr(one, name) for name in ("dataset", "method", "seed", "snapshot", "kimg", "swap", "level")},
            "profile": contest.profile, "techniques": one.techniques,
        },
        "files": {GENERATOR: one.sha256},
        "numbers": asdict(one.numbers) | {"worth": contest.scale.worth(one.numbers)},
        "gates": one.gates,
        "measured_with": contest.basis,
        "use": [export, _USE],
        "make_again": [str(about["command"]), *([] if kind is None else [_blend(root, contest, one, kind)])],
        "weights": weights,
        "git": git_state(root),
    }  # fmt: skip


def _export(contest: Contest) -> str:
    return f"cartoon-pipeline champion export {contest.dataset} --profile {contest.profile} --out {GENERATOR}"


def _blend(root: Path, contest: Contest, one: Candidate, kind: Mapping[str, Any]) -> str:
    """Return the command that mixes the same weights from the outputs of the stages."""
    work = PurePosixPath("work") / contest.profile
    cell = f"{one.method}-{one.dataset}-{one.seed}"
    noted = json.loads((root / work / "swap" / cell / "MANIFEST.json").read_text(encoding="utf-8"))["snapshots"]
    take = next((entry for entry in noted if entry["name"] == one.snapshot), noted[0])
    if kind["mix"] == "weights":
        fade = "" if kind["width"] is None else f" --width {kind['width']:g}"
        how = f"--at {one.level} --low {kind['low']} --mapping {kind['mapping']}{fade}"
    else:
        shares = ",".join(f"{size}={share:g}" for size, share in kind["shares"].items())
        how = f"--schedule {shares} --mapping {kind['mapping']}"
    pair = f"--source {work / 'source' / 'networks.safetensors'} --target {work / 'train' / cell / take['file']}"
    return f"cartoon blend {pair} {how} --out {GENERATOR}"


def register_files(root: Path, contest: Contest, one: Candidate) -> tuple[str, str]:
    """Put a candidate's files into an MLflow run of their own; repeating it doubles nothing.

    Returns: the run's id, and the address of the folder that holds the files.
    Raises: CandidateError if the weights are not what their manifest says.
    """
    from mlflow.tracking import MlflowClient

    identity = f"champion/{contest.profile}/{contest.dataset}/{one.sha256}"
    tags = {
        "stage": "champion", "profile": contest.profile, "dataset": one.dataset, "method": one.method, "seed": one.seed,
        "swap": one.swap, "swap_level": str(one.level), "sha256": one.sha256, **git_state(root),
    }  # fmt: skip
    begin: Entry = {"kind": "begin", "time": round(time.time() * 1000), "id": identity, "tags": tags}
    mirror, client = MlflowMirror(root), MlflowClient(store_address(root))
    run_id = mirror.begin(contest.profile, begin)
    client.update_run(run_id, name=f"candidate: {one.title}, on {one.dataset}")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _stage(root, contest, one, folder)
        mirror.send(run_id, folder, list(_entries(folder, begin["time"], contest, one)))
    return run_id, f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}"


def _stage(root: Path, contest: Contest, one: Candidate, folder: Path) -> None:
    """Gather the files under the names that they have in the registry."""
    copy = folder / GENERATOR
    try:
        shutil.copyfile(one.file, copy)
    except OSError as error:
        code = 5 if error.errno == 28 else 3
        raise CandidateError(f"{one.file}: {error.strerror}; bring it back with `dvc checkout`", code) from error
    with copy.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != one.sha256:
        raise CandidateError(
            f"{one.file}: its sha256 is {found}, but its manifest says {one.sha256}; `dvc checkout --force` brings it "
            "back", 4,
        )  # fmt: skip
    shutil.copyfile(one.file.with_name(one.file.name + ".json"), folder / f"{GENERATOR}.json")
    (folder / RECIPE).write_text(json.dumps(recipe(root, contest, one), indent=2) + "\n", encoding="utf-8")
    sheet = root / "work" / contest.profile / "swap" / f"{one.method}-{one.dataset}-{one.seed}" / "sheet.png"
    if sheet.is_file():
        shutil.copyfile(sheet, folder / SHEET)


def _entries(folder: Path, when: int, contest: Contest, one: Candidate) -> Iterator[Entry]:
    for file in sorted(path.name for path in folder.iterdir()):
        yield {"kind": "artifact", "time": when, "file": file, "folder": FOLDER}
    values = asdict(one.numbers) | {"worth": contest.scale.worth(one.numbers)}
    yield {"kind": "metrics", "time": when, "step": 0, "values": values}
    yield {"kind": "end", "time": when, "status": "FINISHED"}


def fetch_files(client: MlflowClient, version: ModelVersion, out: Path) -> None:
    """Fetch a version's generator, with the manifest that it is checked by; replaces what is there.

    Raises: RegistryError if the weights are not those that were registered; MLflow's own if they are not there.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        for name, target in ((GENERATOR, out), (f"{GENERATOR}.json", out.with_name(f"{out.name}.json"))):
            file = Path(client.download_artifacts(str(version.run_id), f"{FOLDER}/{name}", scratch))
            if target == out:
                _check(file, version)
            _bring(file, target)


def _check(file: Path, version: ModelVersion) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != version.tags.get(SHA256):
        raise RegistryError(
            f"{version.name}, version {version.version}: the weights in MLflow have sha256 {found}, but "
            f"{version.tags.get(SHA256)} was registered; restore MLflow's artifacts, or `champion revert`",
            4,
        )


def _bring(file: Path, target: Path) -> None:
    with file.open("rb") as content:
        os.fsync(content.fileno())
    file.replace(target)
