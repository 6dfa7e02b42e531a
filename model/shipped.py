"""The weights that ship with the project (``model/assets``), checked before use."""

from __future__ import annotations

import json
from pathlib import Path

from model.errors import CorruptInputError, MissingInputError
from model.files import MANIFEST, sha256_file

ASSETS = Path(__file__).resolve().parent / "assets"


def shipped(name: str, assets: Path = ASSETS) -> Path:
    """Return the path of a shipped weight file after checking its sha256.

    Args:
        name: file name without ``.safetensors``.
        assets: folder with a manifest.

    Raises: MissingInputError listing what ships; CorruptInputError if the file was edited.
    """
    remedy = "restore it from git (git checkout model/assets) or train it again (make assets)"
    manifest = assets / MANIFEST
    if not manifest.is_file():
        raise MissingInputError(f"{manifest}: missing; {remedy}")
    files = json.loads(manifest.read_text())["files"]
    file = f"{name}.safetensors"
    if file not in files:
        known = sorted(Path(f).stem for f in files if f.endswith(".safetensors"))
        raise MissingInputError(f"{name}: no such shipped weights, expected one of {known}")
    path = assets / file
    if not path.is_file():
        raise MissingInputError(f"{path}: missing; {remedy}")
    if sha256_file(path) != files[file]["sha256"]:
        raise CorruptInputError(f"{path}: content differs from {manifest}; {remedy}")
    return path
