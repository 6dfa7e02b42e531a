"""A profile of four kinds of source, from the crawl to the LMDB, by `dvc repro`; then new episodes appear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from ruamel.yaml import YAML

from model.data.images import UInt8, encode_image, read_image
from model.data.lmdb import LmdbImages
from model.data.synthetic.pages import comic_page
from model.files import verify_manifest
from pipeline.params import read_params
from tests.project import copy_project, ran, repro
from tests.web.webtoon_site import FakeWebtoon, fake_webtoon

pytestmark = pytest.mark.slow
TITLE = "en/95"
CUT = 300  # px: slices end anywhere, faces or not
KINDS = ("comics", "film", "scans", "pages")


def page(number: int) -> UInt8:
    return comic_page(77, number, "flat").image


def episode(first: int) -> list[bytes]:
    """Two pages below each other, cut into slices."""
    strip = np.concatenate([page(first), page(first + 1)])
    return [encode_image(strip[top : top + CUT], "png", compress_level=1) for top in range(0, len(strip), CUT)]


def write_film(path: Path) -> None:
    """Show page after page, each for five frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "g": "12"})
        stream.height, stream.width = page(0).shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(12 * 5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page(20 + number // 5), format="rgb24")))
        container.mux(stream.encode())


def bring(folder: Path) -> dict[str, dict[str, Any]]:
    """Put there what a user would; return the entries of the params file."""
    comics, film, scans, pages = (folder / kind for kind in KINDS)
    for place in (comics, film, pages):
        place.mkdir(parents=True)
    title = {"title": TITLE, "permission": "drawn for this test", "rights": "CC0-1.0"}
    YAML().dump({"titles": [title]}, comics / "permission.yaml")
    write_film(film / "film.mp4")
    clips = [f"film.mp4,{first},{first + 3},0,0,800,1100,3,scene {first}" for first in range(0, 60, 5)]
    (film / "clips.csv").write_text("\n".join(["video,start_frame,end_frame,x,y,w,h,stride,label", *clips]) + "\n")
    for number in range(40, 48):
        (pages / f"{number}.png").write_bytes(encode_image(page(number), "png", compress_level=1))
    with zipfile.ZipFile(scans.with_suffix(".zip"), "w") as archive:
        for number in range(60, 68):
            archive.writestr(f"scans/{number}.png", encode_image(page(number), "png", compress_level=1))
    same = {"pick": None, "max_bad_fraction": 0.02, "face": "drawn", "exclude": "exclusions/none.txt"}
    return {
        "comics": same | {
            "source": "webtoon", "where": "data/comics", "titles": [TITLE], "max_episodes": None,
            "license": "by permission",
        },
        "film": same | {"source": "video", "where": "data/film", "license": "CC0-1.0"},
        "scans": same | {
            "source": "zip", "where": "data/scans.zip", "group_by": "file", "max_gb": 1.0, "license": "CC0-1.0"
        },
        "pages": same | {"source": "folder", "where": "data/pages", "group_by": "file", "license": "CC0-1.0"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[FakeWebtoon]:
    with fake_webtoon() as made:
        made.add_title(TITLE)
        for first in range(0, 12, 2):
            made.add_episodes(TITLE, 1, slices=episode(first))
        before = dict(os.environ)
        os.environ.update(made.environment())
        yield made
        os.environ.clear()
        os.environ.update(before)


def command(home: Path, *arguments: str) -> str:
    tool = Path(sys.executable).with_name("cartoon-pipeline")
    done = subprocess.run([tool, *arguments], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, site: FakeWebtoon) -> Path:
    home = tmp_path_factory.mktemp("clone") / "project"
    copy_project(home)
    command(home, "new-profile", "mine")
    file = home / "profiles" / "mine" / "params.yaml"
    params = read_params(file)
    params["datasets"] = bring(home / "data")
    params["crawl"] |= {"contact": "tests@example.org", "download_delay": 0.0}
    params["lmdb"] |= {"min_heldout": 4}
    with file.open("w") as stream:
        YAML().dump(params, stream)
    done = ran(repro(home, "profiles/mine/dvc.yaml:lmdb"))
    assert {name.rpartition(":")[2] for name in done} == {
        f"{stage}@{kind}" for stage in ("crawl", "crop", "lmdb") for kind in KINDS
    }
    return home


def record(home: Path, kind: str) -> dict[str, Any]:
    return json.loads((home / "work" / "mine" / "raw" / kind / "crawl.json").read_text())  # type: ignore[no-any-return]


def crops(home: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "work" / "mine" / "faces" / kind / "report.json").read_text())["crops"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_becomes_a_divided_lmdb_of_faces(home: Path, kind: str) -> None:
    for folder in ("raw", "faces", "lmdb"):
        verify_manifest(home / "work" / "mine" / folder / kind)
    parts = {part: LmdbImages(home / "work" / "mine" / "lmdb" / kind / part, 64) for part in ("train", "heldout")}
    assert sum(map(len, parts.values())) == len(crops(home, kind)) >= 15
    split = json.loads((home / "work" / "mine" / "lmdb" / kind / "split.json").read_text())
    assert not set(split["groups"]["train"]) & set(split["groups"]["heldout"])
    assert parts["train"].read_all().std() > 30


def test_faces_across_the_cuts_of_a_webtoon_are_found_as_on_whole_pages(home: Path) -> None:
    pages = [comic_page(77, number, "flat") for number in range(12)]
    cut = 0  # true faces through which a slice ends
    for number, whole in enumerate(pages):
        top = number % 2 * len(whole.image)
        cut += sum(
            (top + y) // CUT != (top + y + height - 1) // CUT for _, y, _, height in (f.box for f in whole.faces)
        )
    assert cut >= 10
    true = sum(len(whole.faces) for whole in pages)
    assert len(crops(home, "comics")) >= 0.85 * true


def test_the_crawl_says_by_whose_permission(home: Path) -> None:
    assert "drawn for this test" in json.dumps(record(home, "comics")["permission"])
    assert "drawn for this test" in (home / "work" / "mine" / "card" / "comics" / "card.md").read_text()


def test_a_second_repro_executes_nothing_and_asks_nobody(home: Path, site: FakeWebtoon) -> None:
    site.forget()
    assert ran(repro(home, "profiles/mine/dvc.yaml:lmdb")) == set()
    assert site.asked == Counter()


def test_new_episodes_alone_are_asked_for_and_only_their_dataset_is_made_again(home: Path, site: FakeWebtoon) -> None:
    before, faces = record(home, "comics"), crops(home, "comics")
    slices = [episode(first) for first in (90, 92, 94)]
    for content in slices:
        site.add_episodes(TITLE, 1, slices=content)
    site.forget()
    assert "3 new" in command(home, "datasets", "update", "--profile", "mine", "comics")
    assert site.asked["viewer"] == 3
    assert site.asked["image"] == sum(map(len, slices))
    site.forget()
    done = {name.rpartition(":")[2] for name in ran(repro(home, "profiles/mine/dvc.yaml:lmdb"))}
    assert done == {"crawl@comics", "crop@comics", "lmdb@comics"}
    assert site.asked == Counter()  # what the update fetched is not fetched again
    after = record(home, "comics")
    assert len(after["files"]) == len(before["files"]) + sum(map(len, slices))
    assert set(before["files"]) <= set(after["files"])
    assert len(crops(home, "comics")) > len(faces)


def test_a_fresh_clone_fetches_what_the_manifest_names(home: Path, site: FakeWebtoon, tmp_path: Path) -> None:
    """Its store is empty, the manifest is in git."""
    (home / "scratch" / "mine" / "crawl").rename(tmp_path / "store")
    site.add_episodes(TITLE, 1)  # later than the manifest: not taken
    site.forget()
    before = record(home, "comics")
    assert "crawl@comics" in {
        name.rpartition(":")[2] for name in ran(repro(home, "-f", "-s", "profiles/mine/dvc.yaml:crawl@comics"))
    }
    assert record(home, "comics") == before
    assert site.asked["viewer"] == 0
    assert site.asked["image"] == len(before["files"])


def test_pictures_are_what_was_published(home: Path) -> None:
    files = record(home, "comics")["files"]
    first = min(files, key=lambda name: (files[name]["strip"], files[name]["order"]))
    assert (read_image(home / "work" / "mine" / "raw" / "comics" / first) == page(0)[:CUT]).all()
