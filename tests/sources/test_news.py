"""What a watcher is told: lists at an address are followed, other kinds say by what their versions are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.sources import __main__ as datasets
from tests.stages.world import Bench
from tests.web.faultserver import Asked, FaultServer, Reply, sha
from tests.web.webtoon_site import fake_webtoon


def publish(server: FaultServer, *rows: str) -> None:
    text = "\n".join(["url,sha256", *rows]) + "\n"

    def page(asked: Asked) -> Reply:
        return Reply(text.encode(), "text/csv")

    server.pages = page


def look(bench: Bench, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    _ = bench.params
    code = datasets.main(["look", *arguments, "--json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)  # type: ignore[no-any-return]


def refused(bench: Bench, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    _ = bench.params
    code = datasets.main(["look", *arguments, "--json"])
    return code, capsys.readouterr().err


def rows() -> list[str]:
    return Path("list.csv").read_text().splitlines()[1:]


def test_a_list_at_an_address_is_taken_over_pinned_and_asked_for_once(
    bench: Bench, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = server.url("/f/ok?seed=1"), server.url("/f/ok?seed=2")
    publish(server, f"{one},{sha(1)}", f"{two},")
    found = look(bench, capsys, "list", "--list", server.url("/list.csv"))
    assert found == {
        "dataset": "list", "source": "urls", "where": "list.csv", "kept": "git", "manifest": "list.csv",
        "news": [f"new: {one}", f"new: {two}"],
    }  # fmt: skip
    assert rows() == [f"{one},{sha(1)}", f"{two},{sha(2)}"]
    asked = len(server.asked)
    assert look(bench, capsys, "list", "--list", server.url("/list.csv"))["news"] == []
    assert [entry.path for entry in server.asked[asked:]] == ["/robots.txt", "/list.csv"]  # no picture again
    assert len(bench_files(bench)) == 2


def bench_files(bench: Bench) -> dict[str, Any]:
    return json.loads((bench.crawl("list") / "crawl.json").read_text())["files"]  # type: ignore[no-any-return]


def test_what_the_address_no_longer_lists_goes_and_what_gives_no_picture_waits(
    bench: Bench, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [server.url(f"/f/ok?seed={n}") for n in range(12)]
    gone = server.url("/f/status?code=404")
    publish(server, *[f"{url}," for url in urls])
    look(bench, capsys, "list", "--list", server.url("/list.csv"))
    publish(
        server, *[f"{url}," for url in urls[1:]], f"{gone},", *[f"{server.url(f'/f/ok?seed={n}')}," for n in (21, 22)]
    )
    bench.values["datasets"]["list"]["max_bad_fraction"] = 0.4
    news = look(bench, capsys, "list", "--list", server.url("/list.csv"))["news"]
    assert f"new: {urls[0]} is no longer listed" in news
    assert any(line.startswith("skipped: ") and "404" in line for line in news)
    assert [row.partition(",")[0] for row in rows()] == [*urls[1:], *(server.url(f"/f/ok?seed={n}") for n in (21, 22))]


def test_a_list_that_cannot_be_used_leaves_the_one_here_as_it_is(
    bench: Bench, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url("/f/ok?seed=1")
    Path("list.csv").write_text(f"url,sha256\n{url},{sha(1)}\n")
    bench.values["crawl"] = {**bench.values["crawl"], "retries": 0}
    publish(server, f"{url},xyz")
    address = server.url("/list.csv")
    assert refused(bench, capsys, "list", "--list", address) == (
        2, f"error: {address}: line 2: found sha256 'xyz', expected 64 of 0-9 a-f, or nothing\n"
    )  # fmt: skip
    publish(server, f"{server.url('/f/status?code=404')},")
    assert refused(bench, capsys, "list", "--list", address)[0] == 7
    code, said = refused(bench, capsys, "list", "--list", server.url("/f/status?code=503&times=99"))
    assert (code, "HTTP 503" in said) == (6, True)
    assert rows() == [f"{url},{sha(1)}"]


def test_only_lists_follow_an_address(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.dataset("mine", "folder", Path("data/mine"), group_by="file")
    code, said = refused(bench, capsys, "mine", "--list", "https://example.org/a.csv")
    assert (code, said) == (
        2,
        "error: datasets.mine: its source is folder; only urls can follow a list at an address\n",
    )


def test_content_of_the_user_is_kept_by_dvc_and_nobody_is_asked(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.dataset("mine", "folder", Path("data/mine"), group_by="file")
    assert look(bench, capsys, "mine") == {
        "dataset": "mine", "source": "folder", "where": "data/mine", "kept": "dvc", "manifest": None, "news": []
    }  # fmt: skip
    entry = bench.values["datasets"]["mine"]
    for name in ("pick", "max_bad_fraction", "group_by"):
        del entry[name]
    entry |= {"source": "synthetic", "where": "model/data/synthetic", "style": "flat", "pages": 1, "seed": 1}
    assert look(bench, capsys, "mine")["kept"] == "code"
    assert look(bench, capsys, "list")["kept"] == "git"  # a list written by hand


def test_a_webtoon_tells_its_new_episodes_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.dataset("comics", "webtoon", Path("data/comics"), titles=["en/95"], max_episodes=None)
    Path("data/comics").mkdir(parents=True)
    title = {"title": "en/95", "permission": "drawn for this test", "rights": "CC0-1.0"}
    Path("data/comics/permission.yaml").write_text(json.dumps({"titles": [title]}))
    with fake_webtoon() as site:
        for name, value in site.environment().items():
            monkeypatch.setenv(name, value)
        site.add_title("en/95")
        site.add_episodes("en/95", 2, title="Start")
        found = look(bench, capsys, "comics")
        assert found["manifest"] == "data/comics/episodes.json"
        assert found["news"] == ["new: en/95 episode 1: Start", "new: en/95 episode 2: Start"]
        assert Path(found["manifest"]).is_file()
        assert look(bench, capsys, "comics")["news"] == []
