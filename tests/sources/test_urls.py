"""Lists of addresses: every picture is the one that was looked at, or it is an error or a noted loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from stages.sources import __main__ as datasets
from stages.web.addresses import AddressError
from tests.stages.world import Bench, tree
from tests.web.faultserver import FaultServer, sha


def write(*lines: str, head: str = "url,sha256") -> Path:
    path = Path("list.csv")
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "crawl.json").read_text())  # type: ignore[no-any-return]


def test_listed_pictures_are_fetched_once_checked_and_grouped(bench: Bench, server: FaultServer) -> None:
    rows = [f"{server.url(f'/f/ok/A%20b.png?seed={n}')},{sha(n).upper()},{'film' if n < 2 else ''}" for n in range(3)]
    write(*rows, head="url,sha256,group")
    out = bench.crawl("list")
    files = record(out)["files"]
    assert sorted(files) == ["00000-a-b.png", "00001-a-b.png", "00002-a-b.png"]
    assert [files[name]["sha256"] for name in sorted(files)] == [sha(n) for n in range(3)]
    assert [files[name]["group"] for name in sorted(files)] == ["film", "film", server.url("/f/ok/A%20b.png?seed=2")]
    asked = len(server.asked)
    assert tree(bench.crawl("list")) == tree(out)
    assert len(server.asked) == asked == 4  # and robots.txt


def test_a_part_is_picked_the_same_way_every_time(bench: Bench, server: FaultServer) -> None:
    write(*[f"{server.url(f'/f/ok?seed={n}')},{sha(n)}" for n in range(6)])
    bench.values["datasets"]["list"]["pick"] = {"count": 2, "seed": 1}
    out = bench.crawl("list")
    assert len(record(out)["files"]) == 2
    assert tree(bench.crawl("list")) == tree(out)


def test_a_line_without_a_hash_is_an_error_until_it_is_pinned(
    bench: Bench, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(f"{server.url('/f/ok?seed=1')},{sha(1)}", f"{server.url('/f/ok?seed=2')},")
    with pytest.raises(UsageError, match=r"1 of 2 lines have no sha256 .*`cartoon-pipeline datasets pin list`"):
        bench.crawl("list")
    assert server.asked == []
    _ = bench.params
    assert datasets.main(["pin", "list"]) == 0
    assert "list: 1 pinned" in capsys.readouterr().out
    assert path.read_text().splitlines() == [
        "url,sha256", f"{server.url('/f/ok?seed=1')},{sha(1)}", f"{server.url('/f/ok?seed=2')},{sha(2)}",
    ]  # fmt: skip
    assert len(record(bench.crawl("list"))["files"]) == 2


def test_an_address_that_cannot_be_pinned_is_named_and_the_others_are_pinned(
    bench: Bench, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(f"{server.url('/f/status?code=404')},", f"{server.url('/f/ok?seed=2')},")
    _ = bench.params
    assert datasets.main(["pin", "list"]) == 7
    assert "1 addresses give no picture: " in capsys.readouterr().err
    assert path.read_text().splitlines()[1:] == [
        f"{server.url('/f/status?code=404')},", f"{server.url('/f/ok?seed=2')},{sha(2)}",
    ]  # fmt: skip


def test_another_picture_than_the_list_says_is_an_error_that_names_both(bench: Bench, server: FaultServer) -> None:
    write(f"{server.url('/f/ok?seed=1')},{sha(2)}")
    with pytest.raises(CorruptInputError, match=rf"f/ok\?seed=1: found sha256 {sha(1)}, expected {sha(2)}.*pin it"):
        bench.crawl("list")


def test_single_lost_pictures_are_noted_and_many_stop_the_stage(bench: Bench, server: FaultServer) -> None:
    good = [f"{server.url(f'/f/ok?seed={n}')},{sha(n)}" for n in range(9)]
    write(*good, f"{server.url('/f/html_as_image')},{sha(77)}")
    (entry,) = record(bench.crawl("list"))["dropped"]
    assert "text/html came instead of a picture" in entry["reason"]
    write(
        *good[:2],
        f"{server.url('/f/html_as_image')},{sha(77)}",
        f"{server.url('/f/status?code=410')},{sha(78)}",
    )
    with pytest.raises(BudgetError, match=r"2 of 4 images .*datasets\.list\.max_bad_fraction"):
        bench.crawl("list")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("link,hash\nx,y\n", r"the first line is 'link,hash', expected url,sha256"),
        ("url,sha256\n", "no lines; expected each address once"),
        ("url,sha256\nhttps://example.org/a,xyz\n", "line 2: found sha256 'xyz', expected 64 of 0-9 a-f"),
        ("url,sha256\nhttps://example.org/a\n", "line 2: expected as many values"),
        ("url,sha256\nhttps://example.org/a,,,\n", "line 2: expected as many values"),
        ("url,sha256\nhttps://example.org/a,\nhttps://example.org/a,\n", "https://example.org/a stands twice"),
        ("", "the first line is ''"),
    ],
)
def test_a_list_that_is_none_is_named_with_line_and_reason(bench: Bench, text: str, reason: str) -> None:
    Path("list.csv").write_text(text)
    with pytest.raises(UsageError, match=reason):
        bench.crawl("list")


def test_an_absent_list_and_one_with_addresses_that_may_not_be_asked_are_refused(bench: Bench) -> None:
    with pytest.raises(MissingInputError, match=r"list\.csv: no such file"):
        bench.crawl("list")
    for url in ("http://example.org/a", "file:///etc/passwd", "https://me:x@example.org/"):
        write(f"{url},{sha(1)}")
        with pytest.raises(AddressError):
            bench.crawl("list")
