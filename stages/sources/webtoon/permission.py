"""What the user states about the right to use a title; without it nothing is asked of any server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import UsageError
from pipeline.params import read_section

FILE = "permission.yaml"


@dataclass(frozen=True)
class Permission:
    """One entry of permission.yaml."""

    title: str  # language/number
    permission: str  # in the user's words: who permits what, and since when
    rights: str  # whose work it is


def read_permissions(where: Path, titles: Sequence[str], key: str) -> dict[str, Permission]:
    """Return title -> what the user states about it.

    Raises: UsageError that shows what to write, for a file or a title that is missing or says nothing.
    """
    path = where / FILE
    if not path.is_file():
        raise UsageError(f"{key}.where: {path}: no such file. {_remedy(path, titles)}")
    known = {entry.title: entry for entry in read_section(path, "titles", list[Permission])}
    silent = [
        title
        for title in titles
        if title not in known or not known[title].permission.strip() or not known[title].rights.strip()
    ]
    if silent:
        raise UsageError(f"{path}: says nothing about {', '.join(silent)}. {_remedy(path, silent)}")
    return {title: known[title] for title in titles}


def _remedy(path: Path, titles: Sequence[str]) -> str:
    entries = ", ".join(
        f'{{title: {title}, permission: "who permits what, since when", rights: "whose work it is"}}'
        for title in titles
    )
    return (
        "Titles are other people's work: only those are crawled that you have permission to use. Ask the holder of the "
        f"rights, then write into {path}: titles: [{entries}]"
    )
