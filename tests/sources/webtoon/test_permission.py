"""Nothing is asked before the user has stated a permission and a contact."""

from __future__ import annotations

import json

import pytest

from model.errors import UsageError
from pipeline.params import ParamsError
from tests.sources.webtoon.desk import TITLE, add, crawl, record
from tests.stages.world import Bench
from tests.web.webtoon_site import FakeWebtoon


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
