"""Webtoon titles: only with permission, taken over whole, in order, once, and the same after every fault."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import BudgetError, CorruptInputError, LockedError, NetworkError, UsageError
from model.files import verify_manifest
from pipeline.params import ParamsError
from stages.sources import __main__ as datasets
from stages.sources.webtoon import update as updating
from stages.sources.webtoon.manifest import FILE
from stages.sources.webtoon.pages import LayoutError
from stages.web import politeness
from stages.web.fetcher import Fetcher
from stages.web.robots import RobotsError
from stages.web.store import open_store
from tests.stages.world import Bench, tree
from tests.web.faultserver import Asked, Clock, Reply, png
from tests.web.webtoon_site import FakeWebtoon, fake_webtoon

ROOT = Path(__file__).resolve().parents[2]
TITLE = "en/95"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWebtoon]:
    monkeypatch.setattr(politeness, "_FIRST_S", 0.001)  # of backing off
    with fake_webtoon() as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        made.add_title(TITLE)
        yield made


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench with the dataset `toon`, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    made = Bench(tmp_path)
    made.values["profile"] = "bench"
    add(made, [TITLE])
    return made


def add(bench: Bench, titles: list[str], stated: list[str] | None = None, **changes: object) -> None:
    where = bench.home / "toon"
    where.mkdir(exist_ok=True)
    entries = [{"title": title, "permission": "mine", "rights": "Me, 2024"} for title in stated or titles]
    (where / "permission.yaml").write_text(json.dumps({"titles": entries}))
    bench.dataset("toon", "webtoon", where, titles=titles, **{"max_episodes": None, **changes})


def crawl(bench: Bench) -> Path:
    """Gather into the same scratch folder as the commands use."""
    from stages.crawl import crawl as stage

    out = bench.home / "raw" / "toon"
    stage(bench.params, "toon", bench.home / "scratch" / "bench" / "crawl" / "toon", out, bench.run)
    return out


def update(bench: Bench, *arguments: str) -> int:
    _ = bench.params
    return datasets.main(["update", *arguments])


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "crawl.json").read_text())  # type: ignore[no-any-return]


def manifest(bench: Bench) -> dict[str, Any]:
    return json.loads((bench.home / "toon" / FILE).read_text())["titles"]  # type: ignore[no-any-return]


def numbers(bench: Bench, title: str = TITLE) -> list[int]:
    return [episode["number"] for episode in manifest(bench)[title]["episodes"]]


def test_every_slice_comes_in_reading_order_with_its_episode_as_group(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 12)
    out = crawl(bench)
    verify_manifest(out)
    files = record(out)["files"]
    episodes = site.titles[TITLE].episodes
    assert [(out / name).read_bytes() for name in sorted(files)] == [s for e in episodes for s in e.slices]
    first, last = sorted(files)[0], sorted(files)[-1]
    assert (first, last) == ("00000-en-95-0001-000.png", "00047-en-95-0014-003.png")
    assert {key: files[last][key] for key in ("group", "strip", "order")} == {
        "group": "en/95 episode 14", "strip": "en/95 episode 14", "order": 3,
    }  # fmt: skip
    found = record(out)
    assert found["permission"] == {TITLE: {"permission": "mine", "rights": "Me, 2024"}}
    assert found["web"] == {"robots": "obey"}
    assert found["dropped"] == []


def test_the_manifest_says_what_was_taken_over(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 1, slices=[png(1, 30, 70)], title="Ep. 0 - \u202eevil\u0000 title")
    crawl(bench)
    entry = manifest(bench)[TITLE]
    assert (entry["language"], entry["number"], entry["name"]) == ("en", 95, "Tower of Test")
    assert entry["path"] == "/en/fantasy/a-slug"  # of the address that the guess was redirected to
    (episode,) = entry["episodes"]
    assert (episode["number"], episode["title"], episode["date"]) == (1, "Ep. 0 - evil title", "1970-01-02")
    (image,) = episode["images"]
    assert (image["width"], image["height"], image["bytes"]) == (30, 70, len(png(1, 30, 70)))
    assert "type=" not in image["url"]  # the original
    assert "v=1" in image["url"]


def test_gathering_again_asks_for_nothing_and_gives_the_same_folder(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 3)
    before = tree(crawl(bench))
    site.forget()
    site.add_episodes(TITLE, 2)  # not looked up: that is what `update` is for
    assert tree(crawl(bench)) == before
    assert sum(site.asked.values()) == 0


def test_an_update_asks_for_the_list_and_new_episodes_only_and_adds_them_at_the_end(
    bench: Bench, site: FakeWebtoon, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add_episodes(TITLE, 4)
    old = tree(crawl(bench))
    text = (bench.home / "toon" / FILE).read_text()
    site.forget()
    new = site.add_episodes(TITLE, 3)
    assert update(bench) == 0
    assert site.asked == {"list": 1, "listing": 1, "viewer": 3, "image": 12}
    assert {path.rpartition("=")[2] for path in site.asked_paths if "viewer" in path} == {str(n) for n in new}
    assert numbers(bench) == [1, 2, 3, 4, 5, *new[1:]]
    said = capsys.readouterr().out
    assert "toon: new: en/95 episode 5: " in said
    assert "toon: 3 new episodes; `dvc repro` takes them in" in said
    changed = set((bench.home / "toon" / FILE).read_text().splitlines()) - set(text.splitlines())
    assert not any('"number": 1,' in line for line in changed)
    site.forget()
    now = tree(crawl(bench))
    assert sum(site.asked.values()) == 0
    assert {name: now[name] for name in old if name.endswith(".png")} == {
        name: content for name, content in old.items() if name.endswith(".png")
    }
    assert len(record(bench.home / "raw" / "toon")["files"]) == 28
    site.forget()
    assert update(bench, "toon") == 0
    assert site.asked == {"list": 1, "listing": 1}
    assert capsys.readouterr().out == "toon: nothing new\n"


def test_a_withdrawn_episode_stays_with_its_pictures_and_is_reported(
    bench: Bench, site: FakeWebtoon, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add_episodes(TITLE, 4)
    before = tree(crawl(bench))
    site.state.withdrawn = {2}
    assert update(bench) == 0
    assert "toon: no longer on the site, kept: en/95 episode 2\n" in capsys.readouterr().out
    assert numbers(bench) == [1, 2, 3, 4]
    assert tree(crawl(bench)) == before
    del site.titles[TITLE]
    assert update(bench) == 0
    assert "kept: en/95, all of it" in capsys.readouterr().out
    assert tree(crawl(bench)) == before


def test_two_titles_and_a_later_third_are_taken_over_each_once(bench: Bench, site: FakeWebtoon) -> None:
    site.add_title("fr/7", "Un titre", genre="canvas", slug="un-titre")
    site.add_title("de/3", "Ein Titel")
    for title in (TITLE, "fr/7", "de/3"):
        site.add_episodes(title, 2)
    add(bench, [TITLE, "fr/7"])
    crawl(bench)
    site.forget()
    add(bench, ["de/3", TITLE, "fr/7"])
    out = crawl(bench)
    assert site.asked == {"list": 2, "listing": 1, "viewer": 2, "image": 8}
    names = sorted(record(out)["files"])
    assert names[0].startswith("00000-de-3-0001")
    assert names[-1].startswith("00023-fr-7-0002")
    assert set(manifest(bench)) == {"de/3", TITLE, "fr/7"}


def test_the_oldest_episodes_or_a_choice_of_whole_ones_is_taken(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 8)
    add(bench, [TITLE], max_episodes=3)
    crawl(bench)
    assert numbers(bench) == [1, 2, 3]
    add(bench, [TITLE], max_episodes=6, pick={"count": 3, "seed": 4})
    update(bench)
    groups = {entry["group"] for entry in record(crawl(bench))["files"].values()}
    assert len(groups) == 3
    assert len(record(crawl(bench))["files"]) == 12
    add(bench, [TITLE], max_episodes=None, pick={"count": 3, "seed": 4})
    update(bench)
    assert len(groups & {entry["group"] for entry in record(crawl(bench))["files"].values()}) >= 1


def test_a_full_disk_stops_it_and_the_next_run_ends_with_the_same_bytes(
    bench: Bench, site: FakeWebtoon, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add_episodes(TITLE, 2)
    expected = tree(crawl(bench))
    subprocess.run(["rm", "-rf", "scratch", "raw", f"toon/{FILE}"], cwd=bench.home, check=True)
    real, calls = os.fsync, [0]
    for full_from in (1, 4, 7, 10):

        def fsync(handle: int, full_from: int = full_from) -> None:
            calls[0] += 1
            if calls[0] >= full_from:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        calls[0] = 0
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            crawl(bench)
        monkeypatch.setattr(os, "fsync", real)
        assert not (bench.home / "raw" / "toon").exists()
    assert tree(crawl(bench)) == expected


# Permission ----------------------------------------------------------------------------------------------------------


def test_without_a_stated_permission_nothing_is_asked_and_what_to_write_is_shown(
    bench: Bench, site: FakeWebtoon
) -> None:
    site.add_episodes(TITLE, 1)
    file = bench.home / "toon" / "permission.yaml"
    good = {"title": TITLE, "permission": "p", "rights": "r"}
    for content in (None, [], [good | {"title": "en/96"}], [good | {"permission": "  "}], [good | {"rights": ""}]):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(json.dumps({"titles": content}))
        with pytest.raises(UsageError, match=r"permission\.yaml.*titles: \[\{title: en/95, permission: ") as caught:
            crawl(bench)
        assert "\n" not in str(caught.value)
    file.write_text("titles: [{title: en/95, permision: x}]")
    with pytest.raises(ParamsError, match="permision"):
        crawl(bench)
    assert all(not server.asked for server in site.servers)


def test_what_the_message_says_to_write_is_taken_after_filling_it_in(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 1)
    file = bench.home / "toon" / "permission.yaml"
    file.unlink()
    with pytest.raises(UsageError) as caught:
        crawl(bench)
    file.write_text(str(caught.value).partition("permission.yaml: titles: ")[2].join(["titles: ", "\n"]))
    assert len(record(crawl(bench))["files"]) == 4


def test_without_a_contact_nothing_is_asked(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 1)
    bench.values["crawl"] = {**bench.values["crawl"], "contact": ""}
    with pytest.raises(UsageError, match=r"crawl\.contact"):
        crawl(bench)
    assert all(not server.asked for server in site.servers)


@pytest.mark.parametrize(
    "titles", [[], ["95"], ["en/"], ["xx/95"], ["en/95/1"], ["en/-1"], ["en/95", "en/95"], ["en/\uff19"]]
)
def test_titles_that_cannot_be_are_refused_with_the_format(bench: Bench, titles: list[str]) -> None:
    add(bench, titles, stated=[TITLE])
    with pytest.raises(ParamsError, match=r"datasets\.toon: titles: expected "):
        crawl(bench)


# Pages ---------------------------------------------------------------------------------------------------------------


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


def update_raises(bench: Bench) -> None:
    from stages.sources.gather import Context
    from stages.sources.settings import WebtoonSource, read_source, read_web
    from stages.sources.webtoon.update import open_desk
    from stages.sources.webtoon.update import update as take

    source = read_source(bench.params, "toon")
    assert isinstance(source, WebtoonSource)
    context = Context(bench.home / "other", read_web(bench.params))
    with open_desk(source, "datasets.toon", context) as desk:
        take(source, "datasets.toon", desk, source.titles)


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


# Pictures ------------------------------------------------------------------------------------------------------------


def test_where_the_original_is_refused_the_copy_for_display_is_taken(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 2)
    site.state.images = {"1/1": "no_original"}
    crawl(bench)
    urls = [image["url"] for image in manifest(bench)[TITLE]["episodes"][0]["images"]]
    assert ["type=q90" in url for url in urls] == [False, True, False, False]


def test_single_bad_pictures_are_dropped_with_the_reason_and_kept_for_inspection(
    bench: Bench, site: FakeWebtoon
) -> None:
    site.add_episodes(TITLE, 8)
    site.state.images = {"1/1": "html", "2/0": "gone", "3/2": "elsewhere"}
    out = crawl(bench)
    reasons = [entry["reason"] for entry in record(out)["dropped"]]
    assert len(record(out)["files"]) == 29
    assert "not a readable" in reasons[0]
    assert "HTTP 404" in reasons[1]
    assert "elsewhere.example: pictures are expected from pstatic.net only" in reasons[2]
    (kept,) = {path.read_bytes() for path in (bench.home / "scratch").rglob("quarantine/*.bin")}
    assert b"captcha" in kept
    site.forget()
    assert update(bench) == 0
    assert tree(crawl(bench)) == tree(out)
    assert site.asked == {"list": 1, "listing": 1}


def test_many_bad_pictures_stop_it_and_leave_the_manifest_alone(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 4)
    site.state.images = {f"{number}/0": "html" for number in (1, 2, 3)}
    with pytest.raises(BudgetError, match=r"3 of 16 images .*datasets\.toon\.max_bad_fraction \(0\.1\)"):
        crawl(bench)
    assert not (bench.home / "toon" / FILE).exists()
    site.state.images = {}
    site.forget()
    assert len(record(crawl(bench))["files"]) == 16
    assert site.asked["image"] == 3  # the good ones were here


def test_a_host_that_is_down_stops_it_and_the_next_run_continues(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 3)
    site.state.images = {"3/0": "busy"}
    with pytest.raises(NetworkError, match="HTTP 503, the server is busy, after 3 tries"):
        crawl(bench)
    site.state.images = {}
    site.forget()
    assert len(record(crawl(bench))["files"]) == 12
    assert site.asked == {"list": 1, "listing": 1, "viewer": 1, "image": 4}


def test_a_picture_that_the_site_has_replaced_is_an_error_on_a_machine_without_the_store(
    bench: Bench, site: FakeWebtoon
) -> None:
    site.add_episodes(TITLE, 2)
    before = tree(crawl(bench))
    site.titles[TITLE].episodes[0].slices[2] = png(99)
    assert tree(crawl(bench)) == before
    subprocess.run(["rm", "-rf", str(bench.home / "scratch")], check=True)
    with pytest.raises(CorruptInputError, match=r"http://.*/1/2/.*found sha256 .*, expected .*remove its episode"):
        crawl(bench)
    site.state.images = {"1/2": "gone"}
    assert "HTTP 404" in record(crawl(bench))["dropped"][0]["reason"]


def test_a_store_that_was_lost_or_damaged_is_filled_again_and_the_result_is_the_same(
    bench: Bench, site: FakeWebtoon
) -> None:
    site.add_episodes(TITLE, 3)
    before = tree(crawl(bench))
    objects = sorted(path for path in (bench.home / "scratch").rglob("objects/*/*"))
    objects[0].unlink()
    objects[1].write_bytes(b"damaged")
    site.forget()
    assert tree(crawl(bench)) == before
    assert site.asked == {"image": 2}


def test_the_manifest_of_somebody_else_is_checked(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 1)
    crawl(bench)
    path = bench.home / "toon" / FILE
    good = path.read_text()
    for bad in (
        "",
        "[]",
        '{"format": 9, "titles": {}}',
        good.replace('"images"', '"pictures"'),
        good[:-20],
        "[" * 10**5,
    ):
        path.write_text(bad)
        with pytest.raises(CorruptInputError, match=r"episodes\.json: .*bring it back from git"):
            crawl(bench)
    content = json.loads(good)
    content["titles"][TITLE]["episodes"][0]["images"][0]["sha256"] = "../../../x"
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptInputError, match="expected a sha256"):
        crawl(bench)


@given(
    name=st.text(max_size=400),
    title=st.sampled_from(["../../x", "/etc/passwd", "CON", "aux.png", "a\0b", "x" * 300, "\u202egnp.exe", "end. "])
    | st.text(max_size=400),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_titles_never_reach_a_file_name(
    bench: Bench, site: FakeWebtoon, tmp_path_factory: pytest.TempPathFactory, name: str, title: str
) -> None:
    home = tmp_path_factory.mktemp("hostile")
    inner = Bench(home)
    add(inner, [TITLE])
    site.add_title(TITLE, name.encode("utf-8", "ignore").decode())
    site.add_episodes(TITLE, 1, slices=2, title=title.encode("utf-8", "ignore").decode())
    before = {path for path in home.rglob("*")}
    out = crawl(inner)
    assert sorted(path.name for path in out.iterdir()) == [
        "00000-en-95-0001-000.png", "00001-en-95-0001-001.png", "MANIFEST.json", "crawl.json",
    ]  # fmt: skip
    new = {path.relative_to(home).parts[0] for path in set(home.rglob("*")) - before}
    assert new <= {"raw", "scratch", "toon", "record", "params.yaml"}
    text = (home / "toon" / FILE).read_text()
    assert all(ord(letter) < 128 for letter in text)
    (episode,) = json.loads(text)["titles"][TITLE]["episodes"]
    assert len(episode["title"]) <= 300
    assert episode["title"].isprintable()


# The command ---------------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_with_exit_code_9(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 1)
    with (
        open_store(bench.home / "scratch" / "bench" / "crawl" / "toon"),
        pytest.raises(LockedError, match="another process") as caught,
    ):
        crawl(bench)
    assert caught.value.exit_code == 9


def test_the_command_lists_updates_and_says_what_is_wrong(bench: Bench, site: FakeWebtoon) -> None:
    site.add_episodes(TITLE, 2)
    bench.folder_dataset("mine", bench.home / "nowhere")
    _ = bench.params
    (bench.home / "dvc.yaml").write_text("stages: {}\n")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "pipeline.cli", "--root", str(bench.home), "datasets", *arguments]
        return subprocess.run(
            whole, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )

    lines = command("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "SOURCE", "WHERE", "STATE"]
    assert "0 of 1 titles, 0 episodes, 0 pictures" in lines[1]
    assert lines[2].endswith("not here")
    done = command("update")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "toon: 2 new episodes; `dvc repro` takes them in")
    assert "1 of 1 titles, 2 episodes, 8 pictures" in command("list").stdout
    for arguments, code, said in (
        (["update", "mine"], 2, "only webtoon has news"),
        (["update", "--profile", "none"], 2, "profiles/none/params.yaml: no such file"),
        (["update", "absent"], 2, "absent"),
        (["pin", "toon"], 2, "only urls is pinned"),
    ):
        done = command(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
        assert said in done.stderr
