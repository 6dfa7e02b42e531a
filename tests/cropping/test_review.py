"""The page on which crops are excluded: self-contained, safe, and what it writes is what the stage reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stages.cropping import review
from stages.cropping.exclusions import read_exclusions
from tests.cropping.raw import png, raw_folder
from tests.stages.world import Bench, face, tree

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}'


@dataclass
class Page(HTMLParser):
    """The tags of a page, with what matters here."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls()
        page.feed(path.read_text())
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def saved(self) -> str:
        """What the page's script joins into a list."""
        pressed = [item["data-line"] for item in self.of("figure") if item["aria-pressed"] == "true"]
        return "\n".join([*(item["data-line"] for item in self.of("li")), *pressed])


def test_every_crop_is_on_the_page_with_its_picture_and_its_line(bench: Bench) -> None:
    out = bench.crop("mine")
    page = Page.read(out / "review.html")
    names = [item["data-line"].partition("# ")[2] for item in page.of("figure")]
    assert sorted(names) == sorted(path.name for path in (out / "crops").iterdir())
    assert len(page.of("img")) == len(names)
    assert all(item["src"].startswith("data:image/jpeg;base64,") for item in page.of("img"))
    assert {item["aria-pressed"] for item in page.of("figure")} == {"false"}


def test_the_page_needs_nothing_from_anywhere_and_may_not_ask(bench: Bench) -> None:
    page = Page.read(bench.crop("mine") / "review.html")
    (policy,) = [item["content"] for item in page.of("meta") if item.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(link.startswith("data:") for link in links)
    assert not page.of("link")


def test_the_lines_of_chosen_crops_exclude_exactly_these_and_the_next_page_shows_them_so(bench: Bench) -> None:
    out = bench.crop("mine")
    figures = Page.read(out / "review.html").of("figure")
    chosen = [item["data-line"] for item in figures[1:3]]
    (bench.home / "none.txt").write_text("\n".join(chosen))
    out = bench.crop("mine")
    left = {path.name for path in (out / "crops").iterdir()}
    assert left == {item["data-line"].partition("# ")[2] for item in figures if item["data-line"] not in chosen}
    page = Page.read(out / "review.html")
    assert len(page.of("figure")) == len(figures)
    assert sorted(page.saved().split("\n")) == sorted(chosen)


def test_a_list_saved_again_keeps_the_lines_that_mean_nothing_here(bench: Bench) -> None:
    stale = f"{'f' * 16} 1 2 3 4  # of another crawl"
    (bench.home / "none.txt").write_text(stale)
    page = Page.read(bench.crop("mine") / "review.html")
    assert page.saved() == stale
    assert "1 lines of the list" in page.text


def test_the_page_says_where_the_list_belongs(bench: Bench) -> None:
    assert str(bench.home / "none.txt") in Page.read(bench.crop("mine") / "review.html").text
    none = bench.home / "exclusions" / "none.txt"
    none.parent.mkdir()
    none.touch()
    bench.values["datasets"]["mine"]["exclude"] = str(none)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(review, "NO_LIST", str(none))
        text = Page.read(bench.crop("mine") / "review.html").text
    assert "exclusions/mine.txt" in text
    assert "datasets.mine.exclude: exclusions/mine.txt" in text


def test_texts_from_the_web_stay_texts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    record = {"origin": EVIL, "group": EVIL}
    raw_folder(bench, "mine", {f"{n}.png": (png(face(n, 64)), record) for n in range(3)}, face="none")
    (bench.home / "none.txt").write_text(f"{'f' * 16} 1 2 3 4  # {EVIL}")
    page = Page.read(bench.crop("mine") / "review.html")
    assert len(page.of("script")) == 1
    assert len(page.of("img")) == 3
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(EVIL in item["title"] for item in page.of("figure"))
    assert EVIL in page.of("li")[0]["data-line"]


def test_copies_come_first_then_what_is_least_sure_or_least_sharp(tmp_path: Path) -> None:
    import cv2

    bench = Bench(tmp_path)
    pictures = {f"{n}.png": face(n, 128) for n in range(6)}
    pictures["3.png"] = cv2.GaussianBlur(pictures["3.png"], (0, 0), 6)
    pictures["9.png"] = face(4, 96)
    raw_folder(bench, "mine", {name: (png(image), {}) for name, image in pictures.items()}, face="none")
    figures = Page.read(bench.crop("mine") / "review.html").of("figure")
    names = [item["data-line"].partition("# ")[2] for item in figures]
    assert names[:2] == ["9-f00.png", "3-f00.png"]
    assert "looks like 4-f00.png" in figures[0]["title"]
    sharp = [float(item["data-sharpness"]) for item in figures[1:]]
    assert sharp == sorted(sharp)
    assert [int(item["data-place"]) for item in figures] == [sorted(names).index(name) for name in names]


def test_many_crops_are_divided_among_files_that_keep_each_others_lines(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "PER_FILE", 3)
    out = bench.crop("mine")
    total = len(list((out / "crops").iterdir()))
    files = sorted(path.name for path in out.glob("review*.html"))
    assert (
        files == ["review-2.html", "review.html"] if total <= 6 else ["review-2.html", "review-3.html", "review.html"]
    )
    pages = [Page.read(out / name) for name in ("review.html", "review-2.html")]
    assert [len(page.of("figure")) for page in pages] == [3, min(3, total - 3)]
    assert f"3 of {total} crops are shown here" in pages[0].text
    assert "review-2.html" in [item["href"] for item in pages[0].of("a")]
    chosen = [pages[0].of("figure")[0]["data-line"], pages[1].of("figure")[0]["data-line"]]
    (bench.home / "none.txt").write_text("\n".join(chosen))
    out = bench.crop("mine")
    for path in out.glob("review*.html"):
        (bench.home / "saved.txt").write_text(Page.read(path).saved())
        saved = {line.text for line in read_exclusions(bench.home / "saved.txt", "k")}
        assert saved == set(chosen)


def test_the_page_is_the_same_on_every_run(bench: Bench) -> None:
    once = tree(bench.crop("mine"))["review.html"]
    assert tree(bench.crop("mine"))["review.html"] == once


def test_two_thousand_crops_make_a_page_below_five_megabytes(bench: Bench) -> None:
    out = bench.crop("mine")
    text = (out / "review.html").read_text()
    figures: list[Any] = re.findall(r"<figure.*?</figure>", text, flags=re.S)
    assert sum(map(len, figures)) / len(figures) * review.PER_FILE < 5_000_000
    assert json.loads((out / "report.json").read_text())["counts"]["kept"] == len(figures)
