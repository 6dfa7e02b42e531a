"""``cartoon-pipeline datasets``: what the params name, new episodes of titles, hashes of lists."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from model.errors import BudgetError, UsageError
from pipeline.params import read_params
from stages.console import run_chosen, write_table
from stages.sources.gather import Context
from stages.sources.news import look, told
from stages.sources.settings import Source, UrlsSource, WebtoonSource, read_source, read_web
from stages.sources.urls import pin_urls, read_list
from stages.sources.webtoon.manifest import FILE, read_manifest
from stages.sources.webtoon.update import News, open_desk, update


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_chosen(_parser(), argv)


def _list(args: argparse.Namespace) -> None:
    params = _params(args.profile)
    rows = [("NAME", "SOURCE", "WHERE", "STATE")]
    for name in _names(params):
        source = read_source(params, name)
        rows.append((name, source.source, source.where, _state(source, params, name)))
    write_table(rows)


def _state(source: Source, params: Path, name: str) -> str:
    """Say in a few words what a dataset has."""
    if not Path(source.where).exists():
        return "not here"
    if isinstance(source, WebtoonSource):
        titles = read_manifest(Path(source.where) / FILE).titles
        known = [titles[title] for title in source.titles if title in titles]
        episodes = [episode for entry in known for episode in entry.episodes]
        pictures = sum(len(episode.images) for episode in episodes)
        state = f"{len(known)} of {len(source.titles)} titles, {len(episodes)} episodes, {pictures} pictures"
    elif isinstance(source, UrlsSource):
        rows = read_list(Path(source.where))
        state = f"{len(rows)} addresses, {sum(not row.sha256 for row in rows)} not pinned"
    else:
        state = "here"
    raw = Path("work", read_params(params)["profile"], "raw", name, "crawl.json")
    return f"{state}, gathered" if raw.is_file() else state


def _update(args: argparse.Namespace) -> None:
    params = _params(args.profile)
    names = [args.name] if args.name else _names(params)
    sources = {name: read_source(params, name) for name in names}
    webtoons = {name: source for name, source in sources.items() if isinstance(source, WebtoonSource)}
    if args.name and not webtoons:
        raise UsageError(f"datasets.{args.name}: its source is {sources[args.name].source}; only webtoon has news")
    for name, source in webtoons.items():
        key = f"datasets.{name}"
        with open_desk(source, key, _context(params, name)) as desk:
            _tell(name, update(source, key, desk, source.titles))
    if not webtoons:
        sys.stdout.write("No dataset is from a place that has news.\n")


def _tell(name: str, news: News) -> None:
    for line in told(news):
        sys.stdout.write(f"{name}: {line}\n")
    counted = f"{len(news.new)} new episodes" if news.new else "nothing new"
    sys.stdout.write(f"{name}: {counted}{'; `dvc repro` takes them in' if news.new else ''}\n")


def _look(args: argparse.Namespace) -> None:
    params = _params(args.profile)
    found = look(read_source(params, args.name), args.name, _context(params, args.name), args.list)
    if args.json:
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        return
    for line in found.news or ["nothing new"]:
        sys.stdout.write(f"{args.name}: {line}\n")


def _pin(args: argparse.Namespace) -> None:
    params = _params(args.profile)
    source = read_source(params, args.name)
    if not isinstance(source, UrlsSource):
        raise UsageError(f"datasets.{args.name}: its source is {source.source}; only urls is pinned")
    pinned, failed = pin_urls(source, _context(params, args.name))
    for url in pinned:
        sys.stdout.write(f"{args.name}: pinned: {url}\n")
    sys.stdout.write(f"{args.name}: {len(pinned)} pinned\n")
    if failed:
        raise BudgetError(f"{len(failed)} addresses give no picture: {'; '.join(failed[:3])}; remove or correct them")


def _context(params: Path, name: str) -> Context:
    """Return the same scratch folder as dvc.yaml gives the stage."""
    return Context(Path("scratch", read_params(params)["profile"], "crawl", name), read_web(params))


def _names(params: Path) -> list[str]:
    return list(read_params(params).get("datasets", {}))


def _params(profile: str | None) -> Path:
    own = Path("params.yaml")
    if profile is None or (own.is_file() and read_params(own).get("profile") == profile):
        return own
    path = Path("profiles", profile, "params.yaml")
    if not path.is_file():
        raise UsageError(f"{path}: no such file; --profile names a folder of profiles/")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cartoon-pipeline datasets",
        description="Datasets that params.yaml names. New episodes are noted in the folder that `where` names, which "
        "is kept in git; `dvc repro` then takes them in.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="what there is, of which kind, and what of it is here")
    new = commands.add_parser("update", help="ask for new episodes, fetch them and note them in episodes.json")
    new.add_argument("name", nargs="?", metavar="NAME", help="default: every dataset that is from webtoons.com")
    ask = commands.add_parser("look", help="say what a dataset is made from, after asking the place it comes from")
    ask.add_argument("name", metavar="NAME")
    ask.add_argument("--list", metavar="URL", help="of a CSV file that a dataset of urls follows")
    ask.add_argument("--json", action="store_true", help="one line for programs")
    pin = commands.add_parser("pin", help="write the sha256 of what a list's addresses give now into the list")
    pin.add_argument("name", metavar="NAME")
    for command, run in ((listing, _list), (new, _update), (ask, _look), (pin, _pin)):
        command.add_argument("--profile", help="default: the root's own")
        command.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
