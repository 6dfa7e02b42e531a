"""Weight files of measuring networks: read without running anything in them, and only if every tensor fits."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file

_REMEDY = "get it again: cartoon-pipeline weights list, then weights fetch NAME"
_LISTED = 5  # mismatches named in one message
# What the readers raise on files that are truncated, refused or of another kind; anything else is a bug, not hidden.
_ERRORS = (UnpicklingError, SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError)
_ODD = (TypeError, AttributeError, AssertionError, OverflowError, MemoryError)


def read_state(path: Path, what: str, under: str = "") -> dict[str, Tensor]:
    """Read a file of tensors: safetensors, or a ``.pth`` through torch's restricted reader.

    Args:
        path: the file.
        what: which network's weights it should hold, for messages.
        under: the key under which the file keeps the tensors; empty for none.

    Raises: MissingInputError without the file; CorruptInputError if it holds anything but tensors by name.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file, expected weights of {what}; {_REMEDY}")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True) if _is_torch(path) else load_file(path)
    except (*_ERRORS, *_ODD) as error:
        reason = " ".join(str(error).split())[:120]
        raise CorruptInputError(
            f"{path}: not a file of tensors ({type(error).__name__}: {reason}); expected weights of {what}; {_REMEDY}"
        ) from error
    if under:
        content = content.get(under) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        place = f" under {under!r}" if under else ""
        raise CorruptInputError(f"{path}: holds no tensors by name{place}; expected weights of {what}; {_REMEDY}")
    return dict(content)


def fill(net: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load tensors into a network, which is then ready for use (``eval``, no gradients).

    Raises: CorruptInputError naming what is missing, unknown, of another shape or not finite.
    """
    expected = net.state_dict()
    wrong = [f"{key} missing" for key in expected if key not in state]
    wrong += [f"{key} unknown" for key in state if key not in expected]
    for key in expected.keys() & state.keys():
        if state[key].shape != expected[key].shape:
            wrong.append(f"{key} is {list(state[key].shape)}, expected {list(expected[key].shape)}")
        elif not bool(torch.isfinite(state[key]).all()):
            wrong.append(f"{key} has values that are not finite")
    if wrong:
        more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise CorruptInputError(
            f"{path}: does not hold weights of {what}: {'; '.join(sorted(wrong)[:_LISTED])}{more}; {_REMEDY}"
        )
    net.load_state_dict(dict(state))
    net.eval().requires_grad_(False)


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose weights are about to be replaced, without touching the global random numbers."""
    with torch.random.fork_rng(devices=[]):
        return make()


def extra(module: str) -> Any:
    """Import a library that only some measuring networks need; MissingInputError saying how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingInputError(
            f"{module}: cannot be imported ({error}), expected it for this measuring network; "
            "pip install 'cartoon-pipeline[eval]'"
        ) from error


def digest(*paths: Path) -> str:
    """Return the sha256 of a file; of several, that of their hashes."""
    hashes = [sha256_file(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _is_torch(path: Path) -> bool:
    with path.open("rb") as file:
        old_pickle = file.read(1) == b"\x80"
    return old_pickle or zipfile.is_zipfile(path)
