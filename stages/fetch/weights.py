"""Weights that are fetched, not shipped: where they lie, what they must be, and how they get here.

``weights.lock.yaml`` names them. Nobody has published sizes or checksums of most of them, so the first download pins
what came; every later one, anywhere, must be the same file.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from model.errors import CorruptInputError, MissingInputError, NetworkError, UsageError
from model.files import atomic_write_text, sha256_file
from model.locks import alone
from pipeline.params import read_params, read_section
from stages.fetch.download import discard, download
from stages.web.client import Limits

LOCK = Path("weights.lock.yaml")
_DIGITS = 64  # of a sha256 in hex


@dataclass(frozen=True)
class Entry:
    """One file of the lock."""

    file: str  # where it lies, from the root
    addresses: list[str]  # tried in order: URLs, or drive:ID for a file on Google Drive; may be empty
    bytes: int | None  # null = pinned by the first download
    sha256: str | None  # null = pinned by the first download
    licence: str
    about: str
    sha256_prefix: str | None = None  # digits that the sha256 begins with, where a file's name states only these

    def __post_init__(self) -> None:
        """Refuse digits that no sha256 begins with, or not this one."""
        prefix = self.sha256_prefix
        if prefix is not None and not (0 < len(prefix) <= _DIGITS and set(prefix) <= set("0123456789abcdef")):
            raise ValueError(f"sha256_prefix must be 1 to {_DIGITS} of the digits 0-9 and a-f, found {prefix!r}")
        if prefix is not None and self.sha256 is not None and not self.sha256.startswith(prefix):
            raise ValueError(f"sha256 {self.sha256} does not begin with sha256_prefix {prefix}")

    def expected(self, digest: str) -> str:
        """Return what is expected instead of this sha256; empty if it is right, or nothing is known about it."""
        if self.sha256 is not None:
            return "" if digest == self.sha256 else self.sha256
        prefix = self.sha256_prefix or ""
        return "" if digest.startswith(prefix) else f"one that begins with {prefix} (sha256_prefix)"


def read_lock(lock: Path = LOCK) -> dict[str, Entry]:
    """Return name -> entry.

    Raises: ParamsError for a lock that is missing, or whose entries are not as :class:`Entry` says.
    """
    return {
        name: entry
        for section in sections_of(lock)
        for name, entry in read_section(lock, section, dict[str, Entry]).items()
    }


def sections_of(lock: Path = LOCK) -> list[str]:
    """Return the lock's sections, which only group what is in it: a stage may watch one of them."""
    return list(read_params(lock))


def entry_of(name: str, lock: Path = LOCK) -> Entry:
    """Return one entry; UsageError naming those there are."""
    entries = read_lock(lock)
    if name not in entries:
        raise UsageError(f"{lock}: no weights called {name!r}; there are: {', '.join(entries)}")
    return entries[name]


def ensure(name: str, lock: Path = LOCK, limits: Limits | None = None) -> Path:
    """Return the path of checked weights, fetching them first if they are not here.

    The first download of weights that the lock does not pin writes their size and sha256 into it.

    Raises: CorruptInputError if the file here is another one; NetworkError naming every address tried and why it gave
        nothing, and how to get the file by hand.
    """
    entry = entry_of(name, lock)
    path = lock.parent / entry.file
    with alone(path):
        if path.is_file():
            _check(path, name, entry, lock)
            return path
        part = path.with_name(path.name + ".part")
        failures = []
        for address in entry.addresses:
            try:
                download(address, part, entry.bytes, limits or Limits())
            except NetworkError as error:
                failures.append(f"{address}: {error}")
                continue
            digest = sha256_file(part)
            expected = entry.expected(digest)
            if not expected:
                _settle(part, path, name, entry, lock)
                return path
            failures.append(f"{address}: sha256 is {digest}, expected {expected}")
            discard(part)
    reasons = "; ".join(failures) or "the lock has no address for it"
    raise NetworkError(
        f"{path}: not here, and could not be fetched ({reasons}); get the file by hand ({entry.about}), then "
        f"`cartoon-pipeline weights import {name} FILE`"
    )


def adopt(name: str, source: Path, lock: Path = LOCK) -> Path:
    """Put a file that was fetched by hand in its place, if it is the right one; pins it if the lock does not.

    Raises: MissingInputError without the file; CorruptInputError if it is another one; nothing changes then.
    """
    entry = entry_of(name, lock)
    path = lock.parent / entry.file
    if not source.is_file():
        raise MissingInputError(f"{source}: no such file; name the file that you fetched for {name}")
    with alone(path):
        _check(source, name, entry, lock)
        part = path.with_name(path.name + ".part")
        discard(part)
        shutil.copyfile(source, part)
        _settle(part, path, name, entry, lock)
    return path


def state_of(entry: Entry, lock: Path = LOCK) -> str:
    """Say in a word or two whether a file is here and pinned, without hashing it."""
    path = lock.parent / entry.file
    if not path.is_file():
        return "not here" if entry.addresses else "not here, by hand only"
    if entry.bytes is not None and path.stat().st_size != entry.bytes:
        return "another file"
    return "here" if entry.sha256 else "here, not pinned"


def damaged(lock: Path = LOCK) -> tuple[list[str], list[str]]:
    """Hash every file that is here; return the names that are as pinned, and what is wrong with the others."""
    good, wrong = [], []
    for name, entry in read_lock(lock).items():
        path = lock.parent / entry.file
        if not path.is_file() or entry.sha256 is None:
            continue
        try:
            _check(path, name, entry, lock)
            good.append(name)
        except CorruptInputError as error:
            wrong.append(str(error))
    return good, wrong


def _check(path: Path, name: str, entry: Entry, lock: Path) -> None:
    size = path.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        found, expected = f"{size} bytes", f"{entry.bytes}"
    elif (entry.sha256 or entry.sha256_prefix) and (expected := entry.expected(digest := sha256_file(path))):
        found = f"sha256 {digest}"
    else:
        return
    raise CorruptInputError(
        f"{path}: found {found}, expected {expected} ({lock}: {name}); remove the file and fetch it again, "
        "or correct the lock if this is the file you mean"
    )


def _settle(part: Path, path: Path, name: str, entry: Entry, lock: Path) -> None:
    """Give a whole file its name, and pin it."""
    if entry.sha256 is None or entry.bytes is None:
        _pin(lock, name, part.stat().st_size, sha256_file(part))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    discard(part)


class _Representer(RoundTripRepresenter):
    """Writes null as null, not as nothing."""


_Representer.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _pin(lock: Path, name: str, size: int, digest: str) -> None:
    """Write size and sha256 into the lock, and leave everything else of it as it is."""
    editor = YAML()  # keeps comments
    editor.Representer = _Representer
    editor.preserve_quotes = True  # without them "drive:ID" in a list is a line that no reader takes
    editor.width = 10_000
    editor.indent(mapping=2, sequence=4, offset=2)
    content = editor.load(lock.read_text(encoding="utf-8"))
    section = next(section for section in content.values() if name in section)
    section[name].update({"bytes": size, "sha256": digest})
    text = StringIO()
    editor.dump(content, text)
    atomic_write_text(lock, text.getvalue())
