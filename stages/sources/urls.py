"""Pictures from a list of addresses, each checked by its sha256.

The list is a CSV file kept in git: ``url,sha256`` and, if pictures belong together, ``group``.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError, MissingInputError, NetworkError, UsageError
from model.files import atomic_write_text
from model.progress import track
from stages.sources.gather import Context
from stages.sources.settings import UrlsSource
from stages.sources.shelf import Shelf
from stages.web.addresses import check_url, parse_url
from stages.web.fetcher import Fetcher
from stages.web.pictures import NoPictureError, Way, fetch_picture
from stages.web.store import Store, open_store

_COLUMNS = ("url", "sha256", "group")
WAY = Way({}, lambda _: None)  # to pictures of any host


@dataclass(frozen=True)
class Row:
    """One line of the list."""

    url: str
    sha256: str  # empty until pinned
    group: str  # empty: the picture is a group of its own


def gather_urls(source: UrlsSource, out: Path, key: str, context: Context) -> dict[str, Any]:
    """Fill ``out`` with the pictures of the list; see ``stages.sources.gather``.

    Raises: UsageError for a line without sha256; CorruptInputError for a picture with another one; BudgetError;
        NetworkError.
    """
    path = Path(source.where)
    rows = read_list(path)
    bare = [row.url for row in rows if not row.sha256]
    if bare:
        name = key.rpartition(".")[2]
        raise UsageError(
            f"{path}: {len(bare)} of {len(rows)} lines have no sha256 ({bare[0]}), expected one in each; look at the "
            f"pictures, then `cartoon-pipeline datasets pin {name}` writes what is there now"
        )
    if source.pick is not None:
        seed = source.pick.seed
        rows.sort(key=lambda row: hashlib.sha256(f"{seed} {row.url}".encode()).digest())
        rows = sorted(rows[: source.pick.count], key=lambda row: row.url)
    shelf = Shelf(out)
    with opened(context) as (fetcher, store):
        for row in track(rows, "gather pictures", unit="pictures"):
            try:
                content = _content(row, path, fetcher, store)
            except NoPictureError as error:
                shelf.refuse(row.url, str(error))
                continue
            stem = parse_url(row.url).path.rpartition("/")[2].partition(".")[0]
            shelf.put(content, row.url, row.group or row.url, stem)
    shelf.check_budget(len(rows), source.max_bad_fraction, f"{key}.max_bad_fraction")
    return {**shelf.record(), "web": {"robots": context.web.robots}}


def pin_urls(source: UrlsSource, context: Context) -> tuple[list[str], list[str]]:
    """Write the sha256 of what is there now into the lines that have none.

    Returns: the addresses that were pinned, and why others were not.
    """
    path = Path(source.where)
    rows = read_list(path)
    pinned, failed = [], []
    with opened(context) as (fetcher, store):
        for number, row in enumerate(rows):
            if row.sha256:
                continue
            try:
                _, digest = fetch_picture([row.url], WAY, fetcher, store)
            except (NoPictureError, NetworkError) as error:
                failed.append(str(error))
                continue
            rows[number] = replace(row, sha256=digest)
            pinned.append(row.url)
            write_list(path, rows)
    return pinned, failed


def read_list(path: Path) -> list[Row]:
    """Return the lines of a list.

    Raises: MissingInputError without the file; UsageError naming line and column of what is wrong.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise MissingInputError(f"{path}: no such file; expected a CSV file with the columns url,sha256") from None
    return parse_list(content, str(path))


def parse_list(content: bytes, origin: str) -> list[Row]:
    """Return the lines of a list that is a file here or came from an address: ``origin``, for messages.

    Raises: UsageError naming line and column of what is wrong.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{origin}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = list(reader.fieldnames or [])
    if names[:2] != ["url", "sha256"] or names[2:] not in ([], ["group"]):
        raise UsageError(f"{origin}: the first line is {','.join(names)!r}, expected url,sha256 or url,sha256,group")
    rows = [_row(origin, reader.line_num, content) for content in reader]
    urls = [row.url for row in rows]
    twice = next((url for url in urls if urls.count(url) > 1), None) if len(set(urls)) < len(urls) else None
    if twice or not rows:
        raise UsageError(f"{origin}: {f'{twice} stands twice' if twice else 'no lines'}; expected each address once")
    return rows


def _row(origin: str, line: int, content: dict[str | None, Any]) -> Row:
    if None in content or any(value is None for value in content.values()):
        raise UsageError(f"{origin}: line {line}: expected as many values as the first line has names")
    row = Row(content["url"].strip(), content["sha256"].strip().lower(), (content.get("group") or "").strip())
    check_url(parse_url(row.url))
    if row.sha256 and (len(row.sha256) != 64 or not set(row.sha256) <= set("0123456789abcdef")):
        raise UsageError(f"{origin}: line {line}: found sha256 {row.sha256!r}, expected 64 of 0-9 a-f, or nothing")
    return row


def write_list(path: Path, rows: list[Row]) -> None:
    """Write a list whole or not at all."""
    columns = _COLUMNS if any(row.group for row in rows) else _COLUMNS[:2]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, column) for column in columns] for row in rows)
    atomic_write_text(path, text.getvalue())


def _content(row: Row, path: Path, fetcher: Fetcher, store: Store) -> bytes:
    content = store.get(row.sha256)
    if content is not None:
        return content
    _, digest = fetch_picture([row.url], WAY, fetcher, store, row.sha256)
    content = store.get(digest)
    if digest != row.sha256 or content is None:
        raise CorruptInputError(
            f"{row.url}: found sha256 {digest}, expected {row.sha256} ({path}): the picture has changed; remove the "
            "line, or its sha256 and pin it again if the new one is what you want"
        )
    return content


@contextmanager
def opened(context: Context) -> Iterator[tuple[Fetcher, Store]]:
    """Open what fetches and the store of what has been fetched; LockedError if another process is at the dataset."""
    with Fetcher(context.web) as fetcher, open_store(context.scratch) as store:
        yield fetcher, store
