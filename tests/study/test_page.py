from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model.data.images import read_image, write_png
from model.errors import MissingInputError, UsageError
from stages.comparing.table import Table
from stages.study.exports import read_answers
from stages.study.page import render, study_html
from stages.study.plan import PERSON, REAL, SOURCE, STYLE, Item, Study, plan
from tests.browser import opened
from tests.comparing.tables import METHODS, demo_table, write_data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def html(table: Table, data: Path) -> str:
    return study_html(table, data / "pictures", 10)


@pytest.fixture
def page_file(html: str, tmp_path: Path) -> Path:
    path = tmp_path / "study.html"
    path.write_text(html)
    return path


def test_equal_comparisons_give_equal_bytes_and_another_picture_another_study(
    tmp_path: Path, table: Table, data: Path, html: str, study: Study
) -> None:
    write_data(tmp_path / "again", demo_table(seeds=("s0",), datasets=("flat",)))
    assert study_html(table, tmp_path / "again" / "pictures", 10) == html
    strip = tmp_path / "again" / "pictures" / "freeze_g-flat" / "tiles" / "weights-8.png"
    changed = read_image(strip).copy()
    changed[0, 0] += 1
    write_png(strip, changed)
    assert plan(table, tmp_path / "again" / "pictures").digest != study.digest


def test_the_page_names_no_method_dataset_or_level(html: str) -> None:
    readable = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    for word in (*METHODS, "freeze", "structure", "flat", "weights", SOURCE, REAL, "recommended"):
        assert not re.search(rf"\b{word}", readable, flags=re.I), word


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else(html: str) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, flags=re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    for kind, text in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in html
    assert not re.search(r"\son\w+=", html)


def test_only_tiles_chosen_by_rule_are_asked_about_and_every_pair_on_every_face(study: Study) -> None:
    real = [item for item in study.items if not item.right]
    pairs = {(item.question, item.a, item.b) for item in real}
    assert len(pairs) == 2 * 3
    assert len(real) == len(pairs) * 9  # 6 first and 3 random ones, and none of the worst
    assert {(item.a, item.right) for item in study.items if item.right} == {(SOURCE, "a"), (REAL, "a")}
    assert all(len(item.beside) == (1 if item.question == PERSON else 3) for item in study.items)
    assert len({item.name for item in study.items}) == len(study.items)


def test_the_recommended_level_is_shown(tmp_path: Path) -> None:
    table = demo_table(seeds=("s0",), datasets=("flat",))
    write_data(tmp_path, table)
    whole = plan(table, tmp_path / "pictures").digest
    for path in tmp_path.glob("pictures/*/tiles/*.png"):
        if path.stem not in ("source", "weights-8"):
            path.unlink()
    assert plan(table, tmp_path / "pictures").digest == whole


def test_pictures_of_one_method_are_no_study_and_no_pairs_are_no_page(tmp_path: Path) -> None:
    table = demo_table(seeds=("s0",), datasets=("flat",), methods=("baseline",))
    write_data(tmp_path, table)
    with pytest.raises(MissingInputError, match="two methods"):
        study_html(table, tmp_path / "pictures", 10)
    with pytest.raises(UsageError, match="study_pairs: found 0"):
        study_html(table, tmp_path / "pictures", 0)


def test_pictures_are_made_smaller_until_the_page_fits(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.Generator(np.random.Philox(key=5))
    noise = {name: chance.integers(0, 256, (300, 300, 3), dtype=np.uint8) for name in list(study.pictures)[:8]}
    big = replace(study, pictures=noise)
    sizes = []
    for limit in (10**7, 600_000, 200_000):
        monkeypatch.setattr("stages.study.page._LIMIT", limit)
        found = re.findall(r'"p\d{4}":"data:image/webp;base64,([^"]+)"', render(big, 10))
        assert len(found) == 8
        assert sum(map(len, found)) <= limit
        sizes.append({Image.open(BytesIO(base64.b64decode(text))).size for text in found})
    assert sizes[0] == {(300, 300)}
    assert max(sizes[2]) < max(sizes[1]) < max(sizes[0])
    monkeypatch.setattr("stages.study.page._LIMIT", 1000)
    with pytest.raises(UsageError, match="too many for one page"):
        render(big, 10)


def items_of(study: Study) -> dict[frozenset[str], list[Item]]:
    found: dict[frozenset[str], list[Item]] = {}
    for item in study.items:
        found.setdefault(frozenset(item.pictures), []).append(item)
    return found


def look(page: Page, html: str, study: Study) -> tuple[Item, str]:
    """What a rater sees: the question about these two pictures, and which of them is on the left."""
    pictures = json.loads(re.findall(r'id="study">(.*?)</script>', html)[0])["pictures"]
    names = {uri: name for name, uri in pictures.items()}
    left, right = (names[str(page.get_attribute(f"#{side}-picture", "src"))] for side in ("left", "right"))
    question = PERSON if "person" in page.inner_text("#question") else STYLE
    (item,) = [item for item in items_of(study)[frozenset((left, right))] if item.question == question]
    return item, "a" if item.pictures[0] == left else "b"


def wanted(item: Item) -> str:
    """A rater who likes freeze_g best, then structure_loss, and sees what is obvious."""
    if item.right:
        return item.right
    order = list(METHODS)
    liked = {"freeze_g": 2, "structure_loss": 1, "baseline": 0}
    assert set(order) == set(liked)
    return "a" if liked[item.a] > liked[item.b] else "b"


@pytest.mark.slow
def test_a_rater_clicks_through_the_page_and_the_analysis_reads_what_was_meant(
    chromium: Browser, page_file: Path, html: str, study: Study, tmp_path: Path
) -> None:
    with opened(chromium, page_file) as page:
        assert page.inner_text("#count") == "14"  # 10 pairs and 4 checks
        page.click("#begin")
        seen: list[tuple[str, str]] = []
        while page.is_visible("#ask"):
            item, left = look(page, html, study)
            body = page.inner_text("body") + page.content().split('id="study"')[0]
            assert not any(method in body for method in METHODS)
            side = "left" if wanted(item) == left else "right"
            seen.append((item.name, left))
            page.wait_for_timeout(260)
            page.click(f"#{side}")
        with page.expect_download() as saved:
            page.click("#save")
        saved.value.save_as(tmp_path / "answers.json")
        assert json.loads(page.input_value("#text")) == json.loads((tmp_path / "answers.json").read_text())
    values = json.loads((tmp_path / "answers.json").read_text())
    assert set(values) == {"schema", "study", "rater", "asked", "answers"}  # nothing about the person
    answers = read_answers([tmp_path / "answers.json"], study)
    (rater,) = answers.raters
    assert (len(rater.answers), rater.checks, rater.failed) == (10, 4, 0)
    assert all(answer.chosen == wanted(answer.item) for answer in rater.answers)
    assert [(entry["item"], entry["left"]) for entry in values["answers"]] == seen
    assert {left for _, left in seen} == {"a", "b"}
    assert len({item for item, _ in seen}) == 14
    assert {answer.item.question for answer in rater.answers} == {PERSON, STYLE}


@pytest.mark.slow
def test_the_page_works_by_keyboard_alone_and_goes_on_where_it_was_left(chromium: Browser, page_file: Path) -> None:
    with opened(chromium, page_file, dark=True, width=390, height=780) as page:
        for _ in range(5):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "begin":
                break
        page.keyboard.press("Enter")
        for number, key in enumerate(("ArrowLeft", "ArrowRight", "1", "2")):
            assert page.inner_text("#place") == f"{number + 1} of 14"
            page.wait_for_timeout(260)
            page.keyboard.press(key)
        place, picture = page.inner_text("#place"), page.get_attribute("#left-picture", "src")
        page.keyboard.press("1")  # at once: a key held down
        assert page.inner_text("#place") == place
        page.reload()
        assert page.inner_text("#resume-at") == "4 of 14 answered"
        page.focus("#begin")
        page.keyboard.press("Enter")
        assert (page.inner_text("#place"), page.get_attribute("#left-picture", "src")) == (place, picture)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        while page.is_visible("#ask"):
            page.wait_for_timeout(260)
            page.keyboard.press("ArrowRight")
        answers = json.loads(page.input_value("#text"))["answers"]
        assert [entry["chosen"] == entry["left"] for entry in answers] == [True, False, True, False, *[False] * 10]


@pytest.mark.slow
def test_a_code_gives_the_same_questions_again_and_another_one_others(chromium: Browser, page_file: Path) -> None:
    def pictures(code: str) -> list[str]:
        with opened(chromium, page_file) as page:
            page.evaluate("localStorage.clear()")
            page.reload()
            page.click("summary")
            page.fill("#code", code)
            page.click("#begin")
            found = []
            for _ in range(5):
                found.append(str(page.get_attribute("#left-picture", "src")))
                page.wait_for_timeout(260)
                page.keyboard.press("1")
            return found

    first = pictures("anna-7")
    assert pictures("anna-7") == first
    assert pictures("berta") != first
    with opened(chromium, page_file) as page:
        page.click("summary")
        page.fill("#code", "<b>")
        page.click("#begin")
        assert "letters, digits" in page.inner_text("#trouble")


@pytest.mark.slow
def test_sides_are_even_and_every_pair_of_methods_is_asked_about_as_often(
    chromium: Browser, table: Table, data: Path, study: Study, tmp_path: Path
) -> None:
    path = tmp_path / "study.html"
    path.write_text(study_html(table, data / "pictures", 12))
    kinds = {item.name: item for item in study.items}
    swapped = asked = 0
    for number in range(6):
        with opened(chromium, path) as page:
            page.clock.install()
            page.reload()
            page.click("summary")
            page.fill("#code", f"r{number}")
            page.click("#begin")
            while page.is_visible("#ask"):
                page.clock.run_for(300)
                page.keyboard.press("1")
            answers = json.loads(page.input_value("#text"))["answers"]
        real = [entry for entry in answers if not kinds[entry["item"]].right]
        swapped += sum(entry["left"] == "b" for entry in real)
        asked += len(real)
        pairs = [(kinds[e["item"]].question, kinds[e["item"]].a, kinds[e["item"]].b) for e in real]
        assert {pairs.count(pair) for pair in set(pairs)} == {2}  # 6 kinds, 12 questions
        assert len(set(pairs)) == 6
    assert asked == 72
    assert 24 <= swapped <= 48
