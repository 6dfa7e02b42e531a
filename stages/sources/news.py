"""What a dataset is made from now: the place it comes from is asked, and what is new is noted in its manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from model.errors import MissingInputError, NetworkError, UsageError
from stages.sources.gather import Context
from stages.sources.settings import Source, SyntheticSource, UrlsSource, WebtoonSource
from stages.sources.shelf import check_budget
from stages.sources.urls import WAY, Row, opened, parse_list, read_list, write_list
from stages.sources.webtoon.manifest import FILE
from stages.sources.webtoon.update import News, open_desk, update
from stages.web.fetcher import Ask, Fetcher
from stages.web.pictures import NoPictureError, fetch_picture
from stages.web.store import Store

Kept = Literal["git", "dvc", "code"]
_LARGEST = 20_000_000  # bytes of a list


@dataclass(frozen=True)
class Look:
    """What a dataset is made from, for whoever watches it."""

    dataset: str
    source: str  # kind: webtoon, urls, folder ...
    where: str  # relative to the project's root
    kept: Kept  # by what a version of it is kept: git (a manifest), dvc (the content itself), code (the project's own)
    manifest: str | None  # the file that git keeps and this program writes
    news: list[str]  # lines for people; empty if there is nothing new


def look(source: Source, name: str, context: Context, address: str | None) -> Look:
    """Ask for news of a dataset and note them in its manifest.

    Args:
        source: the dataset's entry.
        name: of the dataset.
        context: where downloads are kept, and how servers are asked.
        address: of the list that a dataset of ``urls`` follows; None if its list is written by hand.

    Raises: UsageError for an address of another kind of dataset, or as ``update`` and ``follow`` do.
    """
    key = f"datasets.{name}"
    if address is not None and not isinstance(source, UrlsSource):
        raise UsageError(f"{key}: its source is {source.source}; only urls can follow a list at an address")
    if isinstance(source, WebtoonSource):
        with open_desk(source, key, context) as desk:
            news = told(update(source, key, desk, source.titles))
        return Look(name, source.source, source.where, "git", f"{source.where}/{FILE}", news)
    if isinstance(source, UrlsSource):
        news = told(follow(source, key, context, address)) if address is not None else []
        return Look(name, source.source, source.where, "git", source.where, news)
    kept: Kept = "code" if isinstance(source, SyntheticSource) else "dvc"
    return Look(name, source.source, source.where, kept, None, [])


def told(news: News) -> list[str]:
    """Return news as lines."""
    labels = (("new", news.new), ("skipped", news.skipped), ("no longer on the site, kept", news.withdrawn))
    return [f"{label}: {item}" for label, items in labels for item in items]


def follow(source: UrlsSource, key: str, context: Context, address: str) -> News:
    """Make the dataset's list what the list at ``address`` is now.

    A line without a sha256 there gets the one it has here, or that of what its address gives now. A line whose address
    gives no picture is left out, until it does.

    Raises: UsageError for a list that is none; BudgetError if too many new lines give no picture; NetworkError. The
        list here is unchanged then.
    """
    path = Path(source.where)
    before = _lines(path)
    news = News()
    with opened(context) as (fetcher, store):
        answer = fetcher.get(Ask(address, _LARGEST))
        rows, dropped, asked = [], [], 0
        for row in parse_list(answer.body, address):
            pinned = row if row.sha256 else replace(row, sha256=before[row.url].sha256 if row.url in before else "")
            try:
                asked += not pinned.sha256
                rows.append(pinned if pinned.sha256 else _pin(pinned, fetcher, store))
            except NoPictureError as error:
                dropped.append({"origin": row.url, "reason": str(error)})
    check_budget(len(dropped), asked, source.max_bad_fraction, f"{key}.max_bad_fraction", dropped)
    if not rows:
        raise NetworkError(f"{address}: none of its addresses gives a picture; has the list been emptied?")
    news.new = [row.url for row in rows if row.url not in before or row.sha256 != before[row.url].sha256]
    news.skipped = [item["reason"] for item in dropped]
    if rows != list(before.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_list(path, rows)
        news.new += [f"{url} is no longer listed" for url in before.keys() - {row.url for row in rows}]
    return news


def _lines(path: Path) -> dict[str, Row]:
    try:
        return {row.url: row for row in read_list(path)}
    except MissingInputError:
        return {}  # the first time


def _pin(row: Row, fetcher: Fetcher, store: Store) -> Row:
    return replace(row, sha256=fetch_picture([row.url], WAY, fetcher, store)[1])
