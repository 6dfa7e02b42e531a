"""The site's pages: lists, layouts, gates, robots.txt."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.robotparser import RobotFileParser

import pytest

from model.errors import NetworkError
from stages.sources.webtoon import update as updating
from stages.sources.webtoon.manifest import FILE
from stages.sources.webtoon.pages import LayoutError
from stages.web.fetcher import Fetcher
from stages.web.robots import RobotsError
from tests.sources.webtoon.desk import TITLE, add, crawl, numbers, record, update, update_raises
from tests.stages.world import Bench
from tests.web.faultserver import Asked, Clock, Reply
from tests.web.webtoon_site import FakeWebtoon


@pytest.mark.parametrize("why", ["refused", "down"])
def test_without_the_json_list_the_pages_are_turned_until_one_adds_nothing(
    bench: Bench, site: FakeWebtoon, why: str
) -> None:
    site.state.listing = why
    site.add_episodes(TITLE, 23, slices=1)
    crawl(bench)
    assert len(numbers(bench)) == 23
    assert numbers(bench) == sorted(numbers(bench))
    assert site.asked["list"] == 5  # a wrong path that was redirected, three pages, and the last one again


@pytest.mark.parametrize(("listing", "asked"), [("json", 1), ("paged", 3), ("cyclic", 2)])
def test_the_json_list_is_followed_to_its_end_and_not_in_circles(
    bench: Bench, site: FakeWebtoon, listing: str, asked: int
) -> None:
    site.state.listing = listing
    site.add_episodes(TITLE, 5, slices=1)
    crawl(bench)
    assert numbers(bench) == [1, 2, 3, 4, 5]
    assert (site.asked["listing"], site.asked["list"]) == (asked, 2)


def test_a_list_that_never_ends_is_an_error(bench: Bench, site: FakeWebtoon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.sources.webtoon.pages._PAGES", 30)
    site.state.listing, site.state.past_the_end = "refused", "endless"
    site.add_episodes(TITLE, 3)
    with pytest.raises(NetworkError, match="more than 30 pages with ever new episodes"):
        crawl(bench)
    assert site.asked["list"] < 35
    assert not (bench.home / "toon" / FILE).exists()


@pytest.mark.parametrize(
    ("broken", "selector"),
    [("list", "#_listUl"), ("items", r"#_listUl li\[data-episode-no\]"), ("viewer", "#_imageList"),
     ("images", r"#_imageList img\._images\[data-url\]")],
)  # fmt: skip
def test_a_changed_layout_is_an_error_that_names_address_selector_and_the_page_kept(
    bench: Bench, site: FakeWebtoon, broken: str, selector: str
) -> None:
    site.add_episodes(TITLE, 2)
    site.state.broken = broken
    with pytest.raises(LayoutError, match=rf"http://.*: nothing matches {selector}, expected") as caught:
        crawl(bench)
    kept = Path(str(caught.value).partition("it is kept in ")[2].partition(";")[0])
    assert kept.read_bytes().startswith(b"<html>")
    assert not (bench.home / "toon" / FILE).exists()
    assert not (bench.home / "raw" / "toon").exists()
    site.state.broken = ""
    assert len(record(crawl(bench))["files"]) == 8


def test_a_title_without_any_pictures_is_an_error_not_an_empty_success(bench: Bench, site: FakeWebtoon) -> None:
    site.state.not_on_web = {1, 2}
    site.add_episodes(TITLE, 2)
    with pytest.raises(LayoutError, match=r"no episode has pictures .*leads to /en/fantasy/a-slug/list"):
        crawl(bench)
    site.state.not_on_web, site.state.empty = set(), {1, 2}
    with pytest.raises(LayoutError, match=r"no episode has pictures \(en/95 episode 1: empty"):
        crawl(bench)
    assert not (bench.home / "toon" / FILE).exists()


def test_motion_toons_and_empty_episodes_are_skipped_with_the_reason_and_app_only_ones_looked_up_again(
    bench: Bench, site: FakeWebtoon
) -> None:
    site.add_episodes(TITLE, 5)
    site.state.motion, site.state.empty, site.state.not_on_web = {2}, {3}, {5}
    out = crawl(bench)
    reasons = {entry["origin"]: entry["reason"] for entry in record(out)["dropped"]}
    assert reasons == {
        "en/95 episode 2": "a motion toon, which has no list of pictures", "en/95 episode 3": "empty",
    }  # fmt: skip
    assert numbers(bench) == [1, 2, 3, 4]
    site.state.not_on_web = set()
    site.forget()
    update(bench)
    assert site.asked["viewer"] == 1  # of the one that was not on the web
    assert numbers(bench) == [1, 2, 3, 4, 5]


def test_the_age_gate_is_passed_by_cookie_and_one_that_stays_shut_is_named(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 1)
    crawl(bench)
    cookies = [request.headers.get("cookie", "") for request in site.www.asked if request.path != "/robots.txt"]
    assert all("ageGatePass=true" in cookie and "locale=en" in cookie for cookie in cookies)
    assert not any("cookie" in request.headers for request in site.images.asked)
    site.www.pages = lambda asked: (
        Reply(b"<html>") if "ageGate" in asked.path else Reply(b"", status=302, headers={"Location": "/en/ageGate"})
    )
    with pytest.raises(NetworkError, match="leads to the age gate"):
        update_raises(bench)


def test_a_title_that_is_not_there_is_named(bench: Bench, site: FakeWebtoon) -> None:
    add(bench, ["en/96"])
    with pytest.raises(NetworkError, match=r"title_no=96: HTTP 404.*are language and number right"):
        crawl(bench)
    site.add_title("fr/96")
    site.add_episodes("fr/96", 1)
    with pytest.raises(NetworkError, match="expected the list of en/96"):
        crawl(bench)


def test_robots_txt_of_each_host_is_obeyed(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 2)
    no = Reply(b"User-agent: *\nDisallow: /\n", "text/plain")
    site.mobile.robots = no  # the list is read page by page then
    crawl(bench)
    assert (site.asked["listing"], site.asked["list"]) == (0, 3)
    assert [path for path in site.mobile.paths() if path != "/robots.txt"] == []
    site.add_episodes(TITLE, 1)
    site.images.robots = no
    with pytest.raises(RobotsError, match="disallows it"):
        update_raises(bench)
    site.www.robots = Reply(b"", status=503)
    with pytest.raises(RobotsError, match="nothing may be asked of this host; try again later"):
        update_raises(bench)


@pytest.mark.slow
def test_a_crawl_of_a_thousand_requests_keeps_one_second_per_host_and_every_rule_of_robots_txt(
    bench: Bench, site: FakeWebtoon, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(updating, "Fetcher", partial(Fetcher, clock=clock, sleep=clock.sleep, draw=random.Random(0)))
    bench.values["crawl"] = {**bench.values["crawl"], "download_delay": 1.0, "max_delay": 60.0}
    rules = "User-agent: *\nDisallow: /*/search\nDisallow: /api/\nCrawl-delay: 2\n"
    asked_at: dict[str, list[float]] = {}
    for server in site.servers:
        server.robots = Reply(rules.encode(), "text/plain")

        def noted(asked: Asked, place: str = server.place, answer: Any = server.pages) -> Reply:
            asked_at.setdefault(place, []).append(clock.now)
            return answer(asked)  # type: ignore[no-any-return]

        server.pages = noted
    site.add_episodes(TITLE, 20, slices=48)
    crawl(bench)
    assert len(numbers(bench)) == 20
    assert sum(len(times) for times in asked_at.values()) > 980
    for times in asked_at.values():
        assert min(later - earlier for earlier, later in pairwise(times)) >= 2.0 - 1e-9  # as robots.txt asks
    judge = RobotFileParser()
    judge.parse(rules.splitlines())
    paths = [path for server in site.servers for path in server.paths() if path != "/robots.txt"]
    assert all(judge.can_fetch("cartoon-pipeline", path) for path in paths)
    assert not any(path.startswith("/api/") for path in paths)
