"""The store: nothing is lost by a kill or a torn line, nothing damaged is given out, and only one may write."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import CorruptInputError, LockedError
from stages.web.store import open_store

URL = "https://example.org/a"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_was_added_is_there_for_the_next_process(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.known(URL) is None
        assert store.add(URL, b"one") == sha(b"one")
        store.add("https://example.org/b", b"one")
        store.add(URL, b"two")
    with open_store(tmp_path) as store:
        assert (store.known(URL), store.known("https://example.org/b")) == (sha(b"two"), sha(b"one"))
        assert (store.get(sha(b"one")), store.get(sha(b"two")), store.get(sha(b"no"))) == (b"one", b"two", None)
    assert sum(path.is_file() for path in (tmp_path / "objects").rglob("*")) == 2


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_journal_cut_anywhere_loses_at_most_what_was_cut(tmp_path: Path, cut: int) -> None:
    urls = [f"https://example.org/{number}" for number in range(3)]
    with open_store(tmp_path) as store:
        for url in urls:
            store.add(url, url.encode())
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    whole = b"".join(lines)[: len(b"".join(lines)) - cut]
    journal.write_bytes(whole)
    with open_store(tmp_path) as store:
        left = sum(store.known(url) is not None for url in urls)
        assert left == whole.count(b"\n")
        for url in urls:
            store.add(url, url.encode())
    with open_store(tmp_path) as store:
        assert all(store.known(url) == sha(url.encode()) for url in urls)
    assert len(journal.read_bytes().splitlines()) == 3


@given(st.binary(max_size=300), st.integers(0, 250))
@settings(max_examples=200, deadline=None)
def test_bytes_written_over_the_journal_never_make_up_an_entry(tmp_path_factory, noise: bytes, at: int) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("store")
    with open_store(folder) as store:
        for number in range(3):
            store.add(f"https://example.org/{number}", str(number).encode())
    journal = folder / "journal.jsonl"
    good = journal.read_bytes()
    journal.write_bytes(good[:at] + noise + good[at + len(noise) :])
    with open_store(folder) as store:
        for number in range(3):
            assert store.known(f"https://example.org/{number}") in (None, sha(str(number).encode()))


def test_a_damaged_object_counts_as_not_here_and_can_be_added_again(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        digest = store.add(URL, b"picture")
        path = tmp_path / "objects" / digest[:2] / digest
        path.write_bytes(b"pictur!")
        assert store.get(digest) is None
        assert store.known(URL) is None
        assert store.add(URL, b"picture") == digest
        assert store.get(digest) == b"picture"


def test_a_name_that_is_no_hash_never_becomes_a_path(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for name in ("../../etc/passwd", "", "a" * 63, "A" * 64, "/" + "a" * 63):
            with pytest.raises(CorruptInputError, match="expected a sha256"):
                store.get(name)


def test_what_came_instead_of_a_picture_is_kept_with_the_reason(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        path = store.quarantine(URL, b"<html>", "a page")
        assert store.snapshot(b"<html>").read_bytes() == b"<html>"
    assert path.read_bytes() == b"<html>"
    assert '"reason": "a page"' in path.with_suffix(".json").read_text()


HOLDER = """
import sys, time
from pathlib import Path
from stages.web.store import open_store
with open_store(Path(sys.argv[1])):
    print("open", flush=True)
    time.sleep(60)
"""


def test_a_second_crawler_is_refused_until_the_first_is_gone_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(LockedError, match="another process is crawling into it") as caught, open_store(tmp_path):
            pass
        assert caught.value.exit_code == 9
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with open_store(tmp_path) as store:
        store.add(URL, b"x")
