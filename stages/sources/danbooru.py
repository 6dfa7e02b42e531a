"""Danbooru2018 to 2021 as published: millions of files in a thousand folders, and what is known about each post.

``512px/0017/1017.jpg`` or ``original/0017/1017.png``: a file is named by its post, a folder by its last three digits.
``metadata/`` holds one JSON object per line, with ``id``, ``rating``, ``tags`` (or ``tag_string``), ``file_ext``,
``is_deleted`` and ``is_banned``. Source: gwern.net/danbooru2021.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.data.images import SUFFIXES
from model.errors import MissingInputError, UsageError
from stages.sources.folder import list_files
from stages.sources.pick import put_each
from stages.sources.settings import DanbooruSource
from stages.sources.shelf import Shelf, check_budget

METADATA = "metadata"
MAX_LINE = 1 << 20  # bytes; posts have some kilobytes
SHOWN_LINES = 100  # bad lines that the record names; the others are counted


@dataclass(frozen=True)
class Post:
    """What the filters want to know about a post."""

    number: int
    suffix: str  # of the original file
    rating: str
    tags: frozenset[str]
    gone: bool  # deleted or banned


@dataclass
class _Lines:
    """What reading the metadata came across."""

    total: int = 0
    bad: int = 0
    named: list[dict[str, str]] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

    def refuse(self, where: str, why: str) -> None:
        self.bad += 1
        if len(self.named) < SHOWN_LINES:
            self.named.append({"origin": where, "reason": f"{where}: {why}"})

    def pass_over(self, why: str) -> None:
        self.passed_over[why] = self.passed_over.get(why, 0) + 1


def copy_danbooru(source: DanbooruSource, out: Path, key: str) -> dict[str, Any]:
    """Copy the pictures of the posts that the filters let through; see ``stages.sources.gather``.

    Posts that are deleted or banned, and posts whose file is not here, are passed over and counted. Without metadata
    every file is taken, and a filter is an error.

    Raises: MissingInputError without the folder of pictures, or if nothing passes; UsageError for filters without
        metadata; BudgetError for more unreadable lines or pictures than tolerated.
    """
    place = Path(source.where)
    if not (place / source.images).is_dir():
        raise MissingInputError(
            f"{key}.where: {place}: no folder {source.images}/ (from {Path.cwd()}); name the folder of the dataset"
        )
    lines = _Lines()
    known = place / METADATA
    if known.is_dir():
        posts = _wanted(source, known, lines, key)
    elif source.ratings or source.require_tags or source.exclude_tags:
        raise UsageError(
            f"{key}: ratings, require_tags and exclude_tags need {known}, which is not there; fetch it or empty them"
        )
    else:
        posts = _every(place / source.images, f"{key}.where")
    shelf = Shelf(out)

    def put(path: Path) -> str | None:
        origin = _origin(place, path)
        return shelf.put_file(path, origin, origin)

    looked = put_each(posts, source.pick, lambda path: _origin(place, path), put, "read posts")
    if not looked:
        counts = ", ".join(f"{count} {why}" for why, count in lines.passed_over.items()) or "no pictures"
        raise MissingInputError(f"{key}: no post passes ({lines.total} lines of metadata: {counts}); relax its filters")
    shelf.check_budget(looked, source.max_bad_fraction, f"{key}.max_bad_fraction")
    check_budget(lines.bad, lines.total, source.max_bad_fraction, f"{key}.max_bad_fraction", lines.named)
    shelf.dropped += lines.named
    metadata = {"lines": lines.total, "bad_lines": lines.bad, "passed_over": lines.passed_over}
    return {**shelf.record(), "metadata": metadata}


def _origin(place: Path, path: Path) -> str:
    return path.relative_to(place).as_posix()


def _every(folder: Path, key: str) -> Iterator[Path]:
    for path in list_files(folder, key):
        if path.suffix.lower() in SUFFIXES:
            yield path


def _wanted(source: DanbooruSource, known: Path, lines: _Lines, key: str) -> Iterator[Path]:
    """Yield the files of the posts that pass, as the metadata is read."""
    ratings, required, excluded = set(source.ratings), set(source.require_tags), set(source.exclude_tags)
    for post in _posts(known, lines, key):
        if post.gone:
            lines.pass_over("deleted or banned")
        elif ratings and post.rating not in ratings:
            lines.pass_over("rating")
        elif not required <= post.tags:
            lines.pass_over("lacks a required tag")
        elif excluded & post.tags:
            lines.pass_over("has an excluded tag")
        elif (path := _file(source, post)).suffix not in SUFFIXES:
            lines.pass_over("no picture")
        elif not path.is_file():
            lines.pass_over("file not here")
        else:
            yield path


def _file(source: DanbooruSource, post: Post) -> Path:
    suffix = ".jpg" if source.images == "512px" else post.suffix
    return Path(source.where, source.images, f"{post.number % 1000:04d}", f"{post.number}{suffix}")


def _posts(known: Path, lines: _Lines, key: str) -> Iterator[Post]:
    for file in list_files(known, f"{key}.where"):
        with file.open("rb") as opened:
            number = 0
            while line := opened.readline(MAX_LINE + 1):
                number += 1
                lines.total += 1
                where = f"{METADATA}/{file.relative_to(known).as_posix()}:{number}"
                if len(line) > MAX_LINE:
                    lines.refuse(where, f"more than {MAX_LINE} bytes, expected one post per line")
                    while line and not line.endswith(b"\n"):
                        line = opened.readline(MAX_LINE)
                    continue
                try:
                    yield read_post(line)
                except (ValueError, RecursionError) as error:
                    lines.refuse(where, str(error))


def read_post(line: bytes) -> Post:
    """Read a line of metadata; numbers may be text, tags a list of names, of mappings with ``name``, or one text.

    Raises: ValueError saying what is not as published.
    """
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError(f"expected a mapping, found {type(content).__name__}")
    number = str(content.get("id"))
    if not (number.isascii() and number.isdigit() and len(number) <= 12):
        raise ValueError(f"id: expected a whole number, found {number[:40]!r}")
    extension = content.get("file_ext", "")
    rating = content.get("rating", "")
    if not isinstance(extension, str) or not isinstance(rating, str):
        raise ValueError("file_ext, rating: expected text")
    suffix = f".{extension.lower()}" if extension.isascii() and extension.isalnum() else ""
    gone = any(content.get(name) not in (None, False, "false", "f", "0", 0) for name in ("is_deleted", "is_banned"))
    return Post(int(number), suffix, rating, _tags(content), gone)


def _tags(content: dict[str, Any]) -> frozenset[str]:
    tags = content.get("tags", content.get("tag_string", ""))
    if isinstance(tags, str):
        return frozenset(tags.split())
    if not isinstance(tags, list):
        raise ValueError(f"tags: expected a list or text, found {type(tags).__name__}")
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in tags]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("tags: expected names, or mappings with a name")
    return frozenset(str(name) for name in names)
