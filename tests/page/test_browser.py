"""The page in a browser: what moves, sorts and answers, with mouse, keyboard and without a script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import BREAKOUT, HOSTILE, Open, hostile_table, publish

pytestmark = pytest.mark.slow


def tiles(page: Page, column: int) -> list[str]:
    """Return the pictures of a column of the first grid, by name; column 0 is the source."""
    cells = page.locator(f".grid >> nth=0 >> tbody tr:visible td:nth-of-type({column + 1}) img.tile")
    return [str(cells.nth(row).get_attribute("data-p")) for row in range(cells.count())]


def columns(page: Page, name: str) -> list[str]:
    """Return the texts of a column of the first table, top down, by its heading's start."""
    heads = page.locator("table.results >> nth=0 >> thead th").all_inner_texts()
    index = next(i for i, text in enumerate(heads) if text.replace("\xa0", " ").startswith(name))
    rows = page.locator("table.results >> nth=0 >> tbody.rows tr")
    return [rows.nth(i).locator("th, td").nth(index).inner_text() for i in range(rows.count())]


def numbers(texts: list[str]) -> list[float]:
    found = [re.search(r"-?\d+(\.\d+)?", text.replace("\N{MINUS SIGN}", "-")) for text in texts]
    return [float(match[0]) for match in found if match]


def test_the_slider_shows_the_level_it_stands_at(published: Path, show: Open) -> None:
    page = show(published)
    slider = page.locator(".level").first
    expect(slider).to_have_attribute("aria-valuetext", "each at its recommended level")
    start = tiles(page, 1)
    cells = page.evaluate("JSON.parse(document.getElementById('data').textContent).grids[0].methods[0].cells")
    assert start == cells["|weights|8"]["first"]
    source = tiles(page, 0)
    for place, (key, words) in enumerate(
        (("|none|0", "no swap"), ("|weights|8", "8 px"), ("|weights|16", "16 px"), ("|weights|32", "32 px"))
    ):
        slider.fill(str(place))
        assert tiles(page, 1) == cells[key]["first"]
        assert tiles(page, 0) == source
        assert words in str(slider.get_attribute("aria-valuetext"))
        head = page.locator(".grid >> nth=0 >> thead th[data-method='0']").inner_text()
        assert words in head.replace("\xa0", " ")
    sources = page.locator(".grid >> nth=0 >> tbody img.tile").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert all(sources)


def test_the_slider_kind_and_recommendation_work_by_keyboard(published: Path, show: Open) -> None:
    page = show(published)
    cells = page.evaluate("JSON.parse(document.getElementById('data').textContent).grids[0].methods[1].cells")
    slider = page.locator(".level").first
    slider.focus()
    page.keyboard.press("End")
    assert tiles(page, 2) == cells["|weights|32"]["first"]
    page.keyboard.press("ArrowLeft")
    assert tiles(page, 2) == cells["|weights|16"]["first"]
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Recommended for each").first).to_be_focused()
    page.keyboard.press("Enter")
    assert tiles(page, 2) == cells["|weights|8"]["first"]
    page.get_by_label("What is swapped").first.select_option(label="features")
    assert tiles(page, 2) == cells["|features|16"]["first"]  # where the slider stands
    assert page.locator(".suggest").first.get_attribute("aria-pressed") == "false"


def test_faces_can_be_the_first_the_random_or_the_worst(published: Path, show: Open) -> None:
    page = show(published)
    grid = page.evaluate("JSON.parse(document.getElementById('data').textContent).grids[0]")
    for label, rule in (("drawn at random", "random"), ("the worst", "worst"), ("first of the list", "first")):
        page.get_by_label(label).first.check(force=True)
        assert tiles(page, 0) == grid["source"][rule]
        assert tiles(page, 3) == grid["methods"][2]["cells"]["|weights|8"][rule]
        first = page.locator(".grid >> nth=0 >> tbody th").first.inner_text()
        assert first == str(next(one["z"][0] for one in grid["rules"] if one["name"] == rule))


def test_headings_sort_by_number_both_ways_and_what_fails_stays_last(published: Path, show: Open) -> None:
    page = show(published)
    button = page.locator("table.results >> nth=0 >> thead").get_by_role("button", name="similarity").first
    head = page.locator("table.results >> nth=0 >> thead th", has_text="similarity").first
    expect(head).to_have_attribute("aria-sort", "none")
    button.click()
    expect(head).to_have_attribute("aria-sort", "descending")  # the best first
    down = numbers(columns(page, "similarity"))
    assert down[:-1] == sorted(down[:-1], reverse=True)
    button.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    up = numbers(columns(page, "similarity"))
    assert up[:-1] == sorted(up[:-1])
    assert up[-1] == down[-1]
    assert "not ranked" in columns(page, "swap")[-1]
    page.locator("table.results >> nth=0 >> thead").get_by_role("button", name="KID").first.click()
    kid = numbers(columns(page, "KID"))
    assert kid[:-1] == sorted(kid[:-1])
    assert max(kid) > 100 > 25 > min(kid)  # as text, 100 would come before 25
    expect(head).to_have_attribute("aria-sort", "none")
    assert "source, untuned" in page.locator("table.results >> nth=0 >> tbody tr").first.inner_text()


def test_marks_of_the_figure_tell_what_they_are_to_mouse_and_keyboard(published: Path, show: Open) -> None:
    page = show(published)
    tip, plot = page.locator("#tip"), page.locator(".plot-0").first
    plot.locator(".mark.ring").first.hover()
    expect(tip).to_be_visible()
    for words in (
        "baseline, weights up to 8 px",
        "KID",
        "FID:",
        "similarity:",
        "memorisation: pass",
        "recommended",
    ):
        assert words in tip.inner_text()
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    plot.locator(".mark[tabindex='0']").focus()
    expect(tip).to_contain_text("baseline, no swap")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("baseline, weights up to 8 px")
    page.keyboard.press("End")
    expect(tip).to_contain_text("structure loss, features up to 32 px")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    assert plot.locator(".mark[tabindex='0']").count() == 1


def test_the_figure_can_be_drawn_over_fid(published: Path, show: Open) -> None:
    page = show(published)
    expect(page.locator(".plot-1").first).to_be_hidden()
    page.locator(".plots >> nth=0 >> label", has_text="FID").click()
    expect(page.locator(".plot-1").first).to_be_visible()
    expect(page.locator(".plot-0").first).to_be_hidden()


def test_methods_and_datasets_can_be_left_out(published: Path, show: Open) -> None:
    page = show(published)
    expect(page.locator("#dataset-1")).to_be_hidden()
    box = page.locator("#dataset-0 .methods label", has_text="freeze g")
    box.click()
    for part in (".plot-0 .mark[data-method='1']", "table.results tr[data-method='1']"):
        expect(page.locator(f"#dataset-0 {part}").first).to_be_hidden()
    expect(page.locator("#dataset-0 .plot-0 .mark[data-method='0']").first).to_be_visible()
    box.click()
    expect(page.locator("#dataset-0 table.results tr[data-method='1']").first).to_be_visible()
    page.get_by_label("ink", exact=True).check(force=True)
    expect(page.locator("#dataset-0")).to_be_hidden()
    expect(page.locator("#dataset-1")).to_be_visible()
    page.get_by_label("all", exact=True).check(force=True)
    expect(page.locator("#dataset-0")).to_be_visible()


def test_the_ladder_of_pictures_opens(published: Path, show: Open) -> None:
    page = show(published)
    page.locator("#dataset-0 .sweep summary").click()
    images = page.locator("#dataset-0 .sweep img")
    expect(images).to_have_count(3 * 5 * 8)  # methods, faces, source and seven cells
    assert all(images.evaluate_all("all => all.map(i => i.complete && i.naturalWidth > 0)"))


def test_without_a_script_everything_is_there_at_the_recommended_level(published: Path, show: Open) -> None:
    page = show(published, script=False)
    for place in ("#dataset-0", "#dataset-1"):
        expect(page.locator(place)).to_be_visible()
        assert page.locator(f"{place} .grid img.tile").count() == 5 * 4
    expect(page.locator(".controls").first).to_be_hidden()
    expect(page.get_by_text("needs JavaScript").first).to_be_visible()
    expect(page.locator("table.results").first).to_be_visible()


@pytest.mark.parametrize("width", [360, 820, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(published: Path, show: Open, width: int, scheme: str) -> None:
    page = show(published, width=width, scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(23, 27, 33)" if scheme == "dark" else "rgb(255, 255, 255)")


LUMINANCE = """
(() => {
  const bright = (text) => {
    const v = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
  };
  const ground = (one) => { while (one) { const c = getComputedStyle(one).backgroundColor; if (!/, 0\\)$/.test(c)) return c; one = one.parentElement; } return "rgb(255, 255, 255)"; };
  const found = [];
  for (const one of document.querySelectorAll("body *:not(script):not(template):not(svg *)")) {
    const own = [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest(".unseen, .skip")) continue;
    const [a, b] = [bright(getComputedStyle(one).color), bright(ground(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(one.tagName + "." + one.className + ": " + one.textContent.trim().slice(0, 40));
  }
  return found;
})()
"""  # noqa: E501


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(published: Path, show: Open, scheme: str) -> None:
    page = show(published, scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.evaluate(LUMINANCE) == []


def test_everything_has_a_name_and_a_place_for_who_cannot_see_it(published: Path, show: Open) -> None:
    page = show(published)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    nameless = page.locator("button, input, select, summary, a").evaluate_all(
        """all => all.filter(one => {
          const labels = one.labels ? [...one.labels].map(l => l.textContent.trim()).join("") : "";
          return !(labels || one.getAttribute("aria-label") || one.textContent.trim());
        }).map(one => one.outerHTML)"""
    )
    assert nameless == []
    assert (
        page.locator("img:not([alt]), table:not(:has(caption)), svg:not([aria-hidden]):not([aria-label])").count() == 0
    )
    assert (
        page.locator("[role=img]:not([aria-label]), [role=group]:not([aria-label]):not([aria-labelledby])").count() == 0
    )
    assert page.locator("main").count() == page.locator("h1").count() == page.locator("nav[aria-label]").count() == 1
    ids = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))
    missing = page.locator("[aria-labelledby]").evaluate_all(
        "all => all.filter(one => !document.getElementById(one.getAttribute('aria-labelledby'))).length"
    )
    assert missing == 0
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    assert page.locator(".scroll:not([tabindex])").count() == 0  # what scrolls can be scrolled by keyboard


def test_hostile_names_neither_run_nor_break_the_page(tmp_path: Path, show: Open) -> None:
    page = show(publish(tmp_path, hostile_table()))
    assert page.evaluate("window.hacked") is None
    page.locator(".level").first.fill("2")
    page.locator(".plot-0 .mark.ring").first.hover()
    expect(page.locator("#tip")).to_contain_text("up to 8 px")
    expect(page.get_by_text(BREAKOUT).first).to_be_visible()
    expect(page.get_by_text(HOSTILE.replace("_", " ")).first).to_be_visible()
    assert page.evaluate("window.hacked") is None
