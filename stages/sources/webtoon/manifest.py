"""``episodes.json``: which episodes a dataset has and what their pictures are, kept in git, written by the program."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError
from model.files import atomic_write_json

FILE = "episodes.json"
FORMAT = 1


@dataclass(frozen=True)
class Picture:
    """One picture of an episode."""

    url: str  # that gave it
    sha256: str = ""
    bytes: int = 0
    width: int = 0  # px
    height: int = 0
    dropped: str = ""  # why there is none


@dataclass(frozen=True)
class Episode:
    """One episode."""

    number: int
    title: str
    date: str
    images: tuple[Picture, ...]
    skipped: str = ""  # why it has no pictures


@dataclass(frozen=True)
class Entry:
    """One title."""

    language: str
    number: int
    name: str
    path: str
    episodes: tuple[Episode, ...] = ()

    @property
    def numbers(self) -> set[int]:
        """Return the numbers of its episodes."""
        return {episode.number for episode in self.episodes}

    def plus(self, episode: Episode) -> Entry:
        """Return it with one more episode at the end; the others keep their places."""
        return replace(self, episodes=(*self.episodes, episode))


@dataclass
class Manifest:
    """Every title of a dataset."""

    titles: dict[str, Entry] = field(default_factory=dict)


def read_manifest(path: Path) -> Manifest:
    """Return the manifest; empty if there is none.

    Raises: CorruptInputError naming the file if it is not one.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Manifest()
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{path}: not readable as JSON ({error}); {_REMEDY}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CorruptInputError(f"{path}: not a manifest of format {FORMAT}; {_REMEDY}")
    try:
        return Manifest({key: _entry(entry) for key, entry in content["titles"].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptInputError(f"{path}: {type(error).__name__}: {error}; {_REMEDY}") from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest whole or not at all; one fact per line, so that a new episode is a few new lines."""
    titles = {key: _plain(asdict(entry)) for key, entry in manifest.titles.items()}
    atomic_write_json(path, {"format": FORMAT, "titles": titles})


def fingerprint(path: Path) -> str:
    """Return the sha256 of a manifest; empty if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


_REMEDY = "bring it back from git, or remove it to have it made again"


def _entry(content: dict[str, Any]) -> Entry:
    episodes = tuple(
        Episode(**{**episode, "images": tuple(Picture(**image) for image in episode["images"])})
        for episode in content["episodes"]
    )
    return Entry(**{**content, "episodes": episodes})


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing."""
    for episode in entry["episodes"]:
        episode["images"] = [{name: value for name, value in image.items() if value} for image in episode["images"]]
        if not episode["skipped"]:
            del episode["skipped"]
    return entry
