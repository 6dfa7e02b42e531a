"""Webtoon titles are taken over whole, in order and once; the command that does it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from model.errors import LockedError
from model.files import verify_manifest
from stages.sources.webtoon.manifest import FILE
from stages.web.store import open_store
from tests.sources.webtoon.desk import ROOT, TITLE, add, crawl, manifest, numbers, record, update
from tests.stages.world import Bench, tree
from tests.web.faultserver import png
from tests.web.webtoon_site import FakeWebtoon

pytestmark = pytest.mark.slow


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
