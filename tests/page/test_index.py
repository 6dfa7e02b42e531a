"""The page as a file: what is in it, and what it could do to a reader."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from model.data.images import UInt8, write_png
from model.errors import CorruptInputError, MissingInputError, UsageError
from model.files import verify_manifest
from pipeline.params import ParamsError
from pipeline.tracking import Run
from stages.page import page
from stages.report.album import RUNGS, Album
from tests.comparing.tables import demo_table
from tests.page.conftest import BREAKOUT, HOSTILE, SETTINGS, hostile_table, publish


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def between(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0]


def data_of(text: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(between(text, '<script type="application/json" id="data">', "</script>"))
    return found


def test_the_policy_allows_the_one_style_and_the_one_script_by_their_hashes_and_nothing_else(published: Path) -> None:
    text = (published / "index.html").read_text()
    elements = Elements(text)
    policy = next(m["content"] for m in elements.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    for name, content in (
        ("style-src", between(text, "<style>", "</style>")),
        ("script-src", between(text, "<script>", "</script>")),
    ):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert len(elements.all("style")) == 1
    assert [s.get("type") for s in elements.all("script")] == ["application/json", None]
    assert not [a for _, a in elements.found if "style" in a or any(name.startswith("on") for name in a)]


def test_the_page_loads_nothing_and_links_only_to_what_lies_beside_it(published: Path) -> None:
    text = (published / "index.html").read_text()
    elements = Elements(text)
    images = [a["src"] for a in elements.all("img") if "src" in a] + [a["srcset"] for a in elements.all("source")]
    assert len(images) > 40
    assert all(str(uri).startswith("data:image/webp;base64,") for uri in images)
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _ in elements.found}
    links = {str(a["href"]) for a in elements.all("a")}
    ids = {f"#{a['id']}" for _, a in elements.found if a.get("id")}
    assert {link for link in links if link.startswith("#")} <= ids
    files = {link for link in links if not link.startswith("#")}
    assert files == {"study.html", "data/table.csv", "data/table.parquet"}
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.slow
def test_what_names_and_texts_hold_is_shown_and_never_run(tmp_path: Path) -> None:
    report = publish(tmp_path, hostile_table())
    text = (report / "index.html").read_text()
    elements = Elements(text)
    assert len(elements.all("script")) == 2
    assert not [a for a in elements.all("img") if a.get("src") == "x"]
    for shown in (BREAKOUT, HOSTILE.replace("_", " "), "{{ 7 * 7 }}"):
        assert shown in elements.text
    assert "<i>" not in text
    assert data_of(text)
    assert all(not set("<>|&\"'") & set(path.name) for path in report.rglob("*") if "data" not in path.parts)


def test_every_picture_is_in_the_page_once_and_the_script_knows_the_others(published: Path) -> None:
    text = (published / "index.html").read_text()
    rest = data_of(text)["pictures"]
    assert isinstance(rest, dict)
    wanted = set(re.findall(r'data-p="(p\d+)"', text)) | set(
        re.findall(r'"(p\d+)"', json.dumps(data_of(text)["grids"]))
    )
    shown = [a["data-p"] for a in Elements(text).all("img") if "src" in a and a.get("class") == "tile"]
    assert len(shown) == len(set(shown)) == 2 * 5 * 4  # datasets, faces, source and three methods
    assert not set(shown) & set(rest)
    assert wanted <= set(rest) | {a.get("data-p") for a in Elements(text).all("img") if "src" in a}


def test_the_page_has_its_sections_in_order_and_headings_that_nest(published: Path) -> None:
    text = (published / "index.html").read_text()
    levels = [int(tag[1]) for tag, _ in Elements(text).found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    heads = re.findall(r"<h[23][^>]*>([^<]+)<", text)
    wanted = ["In short", "Before you believe it", "The same faces", "Style against likeness", "Every number"]
    wanted += ["What is significant", "Over swap levels and over the training", "More pictures, by rule"]
    places = [heads.index(words) for words in [*wanted, "Make it again, look further"]]
    assert places == sorted(places)


def test_the_honesty_box_tells_extractors_counts_floors_seeds_and_what_was_not_run(published: Path) -> None:
    box = Elements(between((published / "index.html").read_text(), '<aside class="honesty"', "</aside>")).text
    for words in (
        "stylenet-61b4f7b5 (a stand-in)", "never with published ones", "1,000 generated images against 400 drawings",
        "60 more held out", "1.5, FID 0.8", "3 seeds", "s0, s1, s2", "lpips[lpips_vgg]", "its weights are not here",
        "freeze_g on ink, seed s9: not run", "structure loss trains on 8 px MSE", "memorisation fail (not ranked)",
        "structure loss on flat, seed s2: after 12 kimg", "native",
    ):  # fmt: skip
        assert words in box.replace("\n", " "), words
    assert hashlib.sha256(b"s").hexdigest() in box


@pytest.mark.slow
def test_a_single_seed_is_called_so_and_intervals_come_from_its_pairs(tmp_path: Path) -> None:
    text = Elements((publish(tmp_path, demo_table(seeds=("s0",))) / "index.html").read_text()).text
    assert "every method was trained once" in text
    assert "95 % intervals within one training" in text
    assert "no cell looks copied" in text


@pytest.mark.slow
def test_equal_data_gives_equal_bytes_and_nothing_else_in_the_folder_is_touched(tmp_path: Path) -> None:
    table = demo_table(seeds=("s0",), datasets=("flat",), methods=("baseline", "freeze_g"))
    first, again = publish(tmp_path / "a", table), publish(tmp_path / "b", table)
    (first / "data" / "table.csv").write_text("of another stage")
    (first / "figures" / "stale.png").write_text("from an earlier grid")
    params = tmp_path / "a" / "params.yaml"
    page(params, first / "data", first, Run(tmp_path / "run"))
    assert (first / "data" / "table.csv").read_text() == "of another stage"
    made = sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file() and "data" not in p.parts)
    assert made == sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file() and "data" not in p.parts)
    assert {"index.html", "study.html", "hero.png", "figures/pareto-flat.png"} <= {p.as_posix() for p in made}
    for path in made:
        assert (first / path).read_bytes() == (again / path).read_bytes(), path
    verify_manifest(first / "figures")
    verify_manifest(first / "sheets")


@pytest.mark.slow
def test_the_page_gets_smaller_until_it_fits_and_says_so_when_it_cannot(tmp_path: Path) -> None:
    report = publish(tmp_path / "a", demo_table(seeds=("s0",), datasets=("flat",), methods=("baseline", "freeze_g")))
    params, run = tmp_path / "a" / "params.yaml", Run(tmp_path / "run")
    random = np.random.default_rng(0)
    for name in ("nearest", "failures", "sample"):
        noise: UInt8 = random.integers(0, 256, (900, 1200, 3), dtype=np.uint8)
        write_png(report / "data" / "pictures" / "baseline-flat" / f"{name}.png", noise)
    sizes = []
    for limit in (9.0, 1.5):
        params.write_text(json.dumps({"page": SETTINGS | {"max_mb": limit}}))
        page(params, report / "data", report, run)
        sizes.append((report / "index.html").stat().st_size / 1e6)
    assert sizes[0] > 1.5 >= sizes[1]
    params.write_text(json.dumps({"page": SETTINGS | {"max_mb": 0.05}}))
    with pytest.raises(UsageError, match=r"page\.max_mb: found 0\.05"):
        page(params, report / "data", report, run)
    assert (report / "index.html").stat().st_size == round(sizes[1] * 1e6)  # the earlier page is still there


def test_every_rung_makes_pictures_smaller_and_equal_ones_are_kept_once() -> None:
    random = np.random.default_rng(0)
    noise: UInt8 = random.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    album = Album()
    assert album.add(noise, "tile") == album.add(noise.copy(), "tile")
    assert album.add(noise, "sheet") != album.add(noise, "tile")
    sizes = [sum(map(len, album.encode(rung).values())) for rung in RUNGS]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.slow
def test_broken_data_and_settings_are_named(tmp_path: Path) -> None:
    report = publish(tmp_path / "a", demo_table(seeds=("s0",), datasets=("flat",), methods=("baseline",)))
    params, run = tmp_path / "a" / "params.yaml", Run(tmp_path / "run")
    picks = report / "data" / "pictures" / "baseline-flat" / "picks.json"
    picks.write_text(json.dumps({**json.loads(picks.read_text()), "random": [1]}))
    with pytest.raises(CorruptInputError, match=r"tiles/source\.png.*10 square tiles"):
        page(params, report / "data", report, run)
    picks.write_text("{}")
    with pytest.raises(CorruptInputError, match=r"picks\.json"):
        page(params, report / "data", report, run)
    with pytest.raises(MissingInputError, match="dvc repro"):
        page(params, tmp_path / "nowhere", report, run)
    params.write_text(json.dumps({"page": SETTINGS | {"grid_faces": 0}}))
    with pytest.raises(ParamsError, match=r"page\.grid_faces"):
        page(params, report / "data", report, run)


@pytest.mark.slow
def test_a_comparison_without_pictures_is_still_a_page(tmp_path: Path) -> None:
    report = publish(tmp_path / "a", demo_table(seeds=("s0",), datasets=("flat",), methods=("baseline",)))
    for folder in (report / "data" / "pictures").iterdir():
        shutil.rmtree(folder)
    page(tmp_path / "a" / "params.yaml", report / "data", tmp_path / "out", Run(tmp_path / "run"))
    text = Elements((tmp_path / "out" / "index.html").read_text()).text
    assert "Every number" in text
    assert "The same faces" not in text
    assert not (tmp_path / "out" / "hero.png").exists()
    assert "Nothing to choose between" in (tmp_path / "out" / "study.html").read_text()
