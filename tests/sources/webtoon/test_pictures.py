"""Pictures of episodes: originals, broken ones, replaced ones, and the store they are kept in."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import BudgetError, CorruptInputError, NetworkError
from stages.sources.webtoon.manifest import FILE
from tests.sources.webtoon.desk import TITLE, add, crawl, manifest, record, update
from tests.stages.world import Bench, tree
from tests.web.faultserver import png
from tests.web.webtoon_site import FakeWebtoon


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
