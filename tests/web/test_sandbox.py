"""Hostile pages: the child may die or be killed, the parent gets an answer or a reason, and nothing else happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.web.sandbox import Sandbox, SandboxError
from tests.web.fuzz import fuzz

PARSER, BAD = "stages.sources.webtoon.parser", "tests.web.bad_parser"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(BAD, seconds=3.0) as made:
        yield made


def test_the_child_is_kept_from_page_to_page(sandbox: Sandbox) -> None:
    children = {sandbox.call("pid", b"") for _ in range(5)}
    assert len(children) == 1
    assert children != {os.getpid()}
    assert sandbox.restarts == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("crash", "breaks the parser"),
        ("hang", "takes more than 3 s"),
        ("spin", "takes more than 3 s"),
        ("memory", "MemoryError"),
        ("write", "breaks the parser"),
        ("not_json", "breaks the parser"),
        ("flood", "breaks the parser"),
        ("raises", "ValueError: this page"),
        ("recursion", "RecursionError"),
    ],
)
def test_whatever_the_child_does_the_parent_has_a_reason_and_the_next_page_is_read(
    sandbox: Sandbox, tmp_path: Path, task: str, reason: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(SandboxError, match=reason):
        sandbox.call(task, str(tmp_path / "written").encode())
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "written").exists() or not (tmp_path / "written").read_bytes()
    assert sandbox.call("pid", b"") > 0


def test_a_child_killed_between_pages_is_started_again(sandbox: Sandbox) -> None:
    os.kill(sandbox.call("pid", b""), signal.SIGKILL)
    time.sleep(0.2)
    assert sandbox.call("pid", b"") > 0
    assert sandbox.restarts == 1


def test_pages_over_ten_megabytes_are_not_even_handed_over(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="10000001 bytes, the limit is 10000000"):
        sandbox.call("pid", bytes(10_000_001))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["series", "viewer", "listing"])
def test_depth_entities_and_endless_attributes_do_not_break_it(task: str) -> None:
    crafted = [
        b"<div>" * 100_000, b"<ul id=_listUl><li data-episode-no=1><span class=subj>" + b"<b>" * 100_000 + b"x",
        b"<div id=_imageList>" * 50_000, b"&amp;" * 2_000_000, b"<p " + b"a=1 " * 1_000_000, b"[" * 5_000_000,
        b'{"result":' * 100_000, b"<table>" * 20_000, b"", b"\x00" * 1000, b"\xff" * 1_000_000, b"9" * 1_000_000,
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>&b;',
    ]  # fmt: skip
    with Sandbox(PARSER, seconds=4.0) as parser:
        for content in crafted:
            try:
                answer = parser.call(task, content)
            except SandboxError:
                continue
            assert isinstance(answer, dict)
        assert parser.restarts <= len(crafted)


def test_fuzzed_pages_neither_crash_nor_hang_nor_write_anywhere(tmp_path: Path) -> None:
    found = fuzz(400, seed=1, folder=tmp_path)
    assert found.unexpected == []
    assert found.written == []
    assert found.pages == 400
    assert len(found.outcomes) >= 4
