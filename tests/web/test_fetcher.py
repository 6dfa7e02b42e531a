"""Whole answers from servers that misbehave: tried again, waited for, cut off, and named."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from model.errors import NetworkError, UsageError
from stages.sources.settings import Web
from stages.web import wire
from stages.web.fetcher import Ask, Fetcher, RefusedError, UnfitError
from stages.web.pictures import what_is_wrong
from stages.web.politeness import Pace, retry_after
from stages.web.robots import LARGEST, RobotsError
from tests.stages.world import WEB
from tests.web.faultserver import Clock, FaultServer, Reply, png, serving

SETTINGS = Web(**{**WEB, "download_delay": 1.0, "max_delay": 60.0, "retries": 3})  # type: ignore[arg-type]
MOST = 1_000_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with serving() as made:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", made.place)
        monkeypatch.delenv("CARTOON_OFFLINE", raising=False)
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fetcher(clock: Clock, **changes: Any) -> Fetcher:
    return Fetcher(replace(SETTINGS, **changes), clock=clock, sleep=clock.sleep, draw=random.Random(0))


def asked(server: FaultServer) -> list[str]:
    return [path for path in server.paths() if path != "/robots.txt"]


@pytest.mark.parametrize(
    "fault",
    ["cut?at=100", "cut?at=0", "chunk_cut?", "reset?", "busy?code=429", "busy?code=503", "busy?code=500",
     "html_as_image?", "html_as_image?type=image/png", "lie_length?", "wrong_encoding?"],
)  # fmt: skip
def test_what_breaks_off_or_is_busy_or_no_picture_is_asked_for_again(
    server: FaultServer, clock: Clock, fault: str
) -> None:
    url = server.url(f"/f/{fault}&times=2")
    with fetcher(clock) as fetch:
        answer = fetch.get(Ask(url, MOST, fit=what_is_wrong))
    assert (answer.body, answer.kind, answer.url) == (png(0), "image/png", url)
    assert len(asked(server)) == 3
    assert len(clock.slept) >= 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut?at=100", "RemoteProtocolError"),
        ("chunk_cut", "RemoteProtocolError"),
        ("reset", "ReadError"),
        ("busy?code=429", "HTTP 429, the server is busy"),
        ("busy?code=503", "HTTP 503, the server is busy"),
        ("wrong_encoding", "the body is not the gzip that it says"),
    ],
)
def test_after_the_last_try_the_address_the_tries_and_the_remedy_are_named(
    server: FaultServer, clock: Clock, fault: str, reason: str
) -> None:
    with fetcher(clock) as fetch, pytest.raises(NetworkError) as caught:
        fetch.get(Ask(server.url(f"/f/{fault}"), MOST))
    assert str(caught.value).startswith(server.url(f"/f/{fault}: "))
    assert reason in str(caught.value)
    assert "after 4 tries; is the network up" in str(caught.value)
    assert caught.value.exit_code == 6
    assert len(asked(server)) == 4


def test_a_name_that_cannot_be_resolved_for_now_is_tried_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.delenv("CARTOON_OFFLINE", raising=False)
    with fetcher(clock, robots="ignore") as fetch, pytest.raises(NetworkError, match=r"cannot be resolved .*4 tries"):
        fetch.get(Ask("https://www.example.org/", MOST))
    assert asked == ["www.example.org"] * 4


def test_something_else_again_and_again_is_handed_over_for_quarantine(server: FaultServer, clock: Clock) -> None:
    with fetcher(clock) as fetch, pytest.raises(UnfitError, match="text/html came instead of a picture") as caught:
        fetch.get(Ask(server.url("/f/html_as_image"), MOST, fit=what_is_wrong))
    assert caught.value.answer is not None
    assert b"captcha" in caught.value.answer.body


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_asked_for_again(server: FaultServer, clock: Clock, code: int) -> None:
    with fetcher(clock) as fetch, pytest.raises(RefusedError, match=f"HTTP {code}") as caught:
        fetch.get(Ask(server.url(f"/f/status?code={code}"), MOST))
    assert caught.value.status == code
    assert len(asked(server)) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("gzip_bomb?mb=200", "more than 1 MB"), ("much?mb=50", "more than 1 MB"), ("gzip_bomb?layers=2", "gzip, gzip"),
     ("wrong_encoding?as=br", "'br'")],
)  # fmt: skip
def test_no_body_takes_more_memory_than_its_limit(server: FaultServer, clock: Clock, fault: str, reason: str) -> None:
    with fetcher(clock) as fetch, pytest.raises(UnfitError, match=reason):
        fetch.get(Ask(server.url(f"/f/{fault}"), MOST))
    assert len(asked(server)) == 1


def test_one_layer_of_gzip_is_taken_off(server: FaultServer, clock: Clock) -> None:
    with fetcher(clock) as fetch:
        assert fetch.get(Ask(server.url("/f/gzip?body=text"), MOST)).body == b"good " * 1000


@pytest.mark.parametrize(
    ("fault", "limits", "reason"),
    [
        ("drip", {"rate_s": 0.3}, r"TooSlowError: \d+ bytes in 0 s"),
        ("drip?every=0.1", {"deadline_s": 0.7}, "TooSlowError: not whole after 0.7 s"),
        ("drip_headers?every=0.1", {"deadline_s": 0.7}, "TooSlowError: not whole after 0.7 s"),
        ("silent", {"read_s": 0.4}, "TooSlowError: no byte for 0.4 s"),
    ],
)
def test_who_sends_a_byte_now_and_then_is_left_although_no_socket_timeout_passes(
    server: FaultServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    limits: dict[str, float],
    reason: str,
) -> None:
    with fetcher(clock, retries=0) as fetch:
        changed = replace(wire.Limits(read_s=5, deadline_s=20), **limits)
        monkeypatch.setattr(fetch._session, "limits", changed)
        monkeypatch.setattr(fetch._session._watch, "limits", changed)
        begun = time.monotonic()
        with pytest.raises(NetworkError, match=reason):
            fetch.get(Ask(server.url(f"/f/{fault}"), MOST))
    assert time.monotonic() - begun < 10  # it would drip for ever


def test_redirects_end_after_five(server: FaultServer, clock: Clock) -> None:
    with fetcher(clock) as fetch, pytest.raises(NetworkError, match="more than 5 redirects"):
        fetch.get(Ask(server.url("/f/loop?n=0"), MOST))
    assert len(asked(server)) == 6
    with fetcher(clock) as fetch, pytest.raises(NetworkError, match="more than 5 redirects"):
        fetch.get(Ask(server.url("/f/loop"), MOST))


def test_cookies_and_referer_stay_with_the_host_they_are_for(
    server: FaultServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as other:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", f"{server.place},{other.place}")
        private = {"Cookie": "age=true", "Referer": "https://www.example.org/"}
        away, back = f"{other.base}/f/ok", f"{other.base}/f/redirect?to={server.base}/f/ok?body=text"
        with fetcher(clock) as fetch:
            fetch.get(Ask(server.url("/f/redirect?to=/f/ok"), MOST, private))
            fetch.get(Ask(server.url(f"/f/redirect?to={away}"), MOST, private))
            fetch.get(Ask(server.url(f"/f/redirect?to={back}"), MOST, private))
    there = [r.headers for r in server.asked if r.path.startswith("/f/")]
    assert ["cookie" in headers for headers in there] == [True, True, True, True, False]
    assert ["referer" in headers for headers in there] == [True, True, True, True, False]
    assert len(other.asked) == 3
    assert not any(
        {"cookie", "referer"} & set(r.headers)
        for r in [*other.asked, *(r for r in server.asked if r.path == "/robots.txt")]
    )


def test_what_a_server_sets_as_a_cookie_is_never_sent_back(server: FaultServer, clock: Clock) -> None:
    server.pages = lambda _: Reply(b"x", headers={"Set-Cookie": "id=1; Path=/"})
    with fetcher(clock) as fetch:
        for _ in range(3):
            fetch.get(Ask(server.url("/page"), MOST))
    assert not any("cookie" in request.headers for request in server.asked)


def test_the_contact_is_in_the_user_agent_and_without_one_nothing_is_asked(server: FaultServer, clock: Clock) -> None:
    with fetcher(clock, contact="me@example.org") as fetch:
        fetch.get(Ask(server.url("/f/ok"), MOST))
    assert {request.headers["user-agent"] for request in server.asked} == {"cartoon-pipeline (+me@example.org)"}
    for contact in ("", "  ", "me\r\nX-Evil: 1"):
        with pytest.raises(UsageError, match=r"crawl\.contact: .*expected a mail or web address"):
            fetcher(clock, contact=contact)


# Politeness ----------------------------------------------------------------------------------------------------------


def test_a_thousand_requests_never_come_faster_than_one_a_second_per_host(clock: Clock) -> None:
    pace, draw = Pace(1.0, 60.0, clock=clock, sleep=clock.sleep, draw=random.Random(1)), random.Random(2)
    asked_at: dict[str, list[float]] = {"a": [], "b": []}
    for number in range(1000):
        host = draw.choice("ab")
        pace.wait(host)
        asked_at[host].append(clock.now)
        clock.now += draw.choice([0.01, 0.2, 1.5, 8.0])
        pace.learn(host, draw.choice([0.01, 0.2, 1.5, 8.0]), draw.random() < 0.9)
        if number % 50 == 0:
            pace.hold(host, pace.back_off(number % 4))
    for times in asked_at.values():
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert min(gaps) >= 1.0 - 1e-9
    assert len(asked_at["a"]) + len(asked_at["b"]) == 1000


def test_the_fetcher_keeps_its_pace_towards_a_real_server(server: FaultServer, clock: Clock) -> None:
    starts: list[float] = []
    server.pages = lambda _: (starts.append(clock.now), Reply(b"x"))[1]
    with fetcher(clock) as fetch:
        for number in range(50):
            fetch.get(Ask(server.url(f"/{number}"), MOST))
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert len(starts) == 50
    assert min(gaps) >= 1.0 - 1e-9


def test_redirects_and_tries_again_are_requests_too(server: FaultServer, clock: Clock) -> None:
    begun = clock.now
    with fetcher(clock) as fetch:
        fetch.get(Ask(server.url("/f/redirect?to=/f/ok"), MOST))
        fetch.get(Ask(server.url("/f/busy?times=2&after=0"), MOST))
    assert len(server.asked) == 6  # robots.txt, two hops, three tries
    assert clock.now - begun >= 5.0


def test_a_slow_host_is_asked_less_often_and_a_quick_error_does_not_speed_up(clock: Clock) -> None:
    pace = Pace(1.0, 10.0, clock=clock, sleep=clock.sleep)
    delays = []
    for latency, good in [(4.0, True), (4.0, True), (0.1, False), (100.0, True), (0.1, True), (0.1, True)]:
        pace.learn("a", latency, good)
        delays.append(pace._of("a").delay)
    assert delays == [4.0, 4.0, 4.0, 10.0, pytest.approx(5.05), pytest.approx(2.575)]


@pytest.mark.parametrize(
    ("query", "waits"),
    [("after=7", 7.0), ("after=0", 1.0), ("after=99999", 3600.0), ("after=-5", None), ("after=soon", None)],
)
def test_retry_after_is_honoured_up_to_an_hour(
    server: FaultServer, clock: Clock, query: str, waits: float | None
) -> None:
    with fetcher(clock) as fetch:
        fetch.get(Ask(server.url(f"/f/busy?times=1&{query}"), MOST))
    longest = max(clock.slept)
    assert longest == waits if waits else 0.5 <= longest <= 1.5


@pytest.mark.parametrize("skew", [-86_400, 0, 86_400])
@pytest.mark.parametrize("date", [30, -30, 10_000_000])
def test_a_date_to_retry_after_means_the_same_whichever_clock_is_a_day_off(
    server: FaultServer, clock: Clock, skew: int, date: int
) -> None:
    with fetcher(clock) as fetch:
        fetch.get(Ask(server.url(f"/f/busy?times=1&date={date}&skew={skew}"), MOST))
    expected = {30: 30.0, -30: 1.0, 10_000_000: 3600.0}[date]
    assert max(clock.slept) == pytest.approx(expected, abs=1.01)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_without_the_servers_clock_a_jump_of_ours_never_waits_longer_than_an_hour(jump: float) -> None:
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert retry_after(headers, lambda: 1_792_567_680.0 - 30 + jump) in (0.0, 3600.0)
    assert retry_after(headers, lambda: 1_792_567_680.0 - 30) == 30.0
    assert retry_after({"retry-after": "Wed, 99 Xyz"}) is None
    assert retry_after({}) is None


def test_backing_off_grows_and_is_jittered_the_same_way_for_the_same_seed(clock: Clock) -> None:
    one, two = (Pace(1.0, 60.0, clock=clock, sleep=clock.sleep, draw=random.Random(5)) for _ in range(2))
    waits = [one.back_off(tries) for tries in range(10)]
    assert waits == [two.back_off(tries) for tries in range(10)]
    assert all(0.5 * min(2**n, 60) <= wait <= 1.5 * min(2**n, 60) for n, wait in enumerate(waits))
    assert len(set(waits)) == 10


# robots.txt ----------------------------------------------------------------------------------------------------------


def text(content: str, status: int = 200) -> Reply:
    return Reply(content.encode(), "text/plain", status)


HUGE = "#" * LARGEST + "\nUser-agent: *\nDisallow: /\n"
TRAP = "User-agent: *\nDisallow: /" + "*a" * 2000 + "*b\n"


@pytest.mark.parametrize(
    ("robots", "allowed"),
    [
        (text("User-agent: *\nDisallow: /f/\n"), False),
        (text("User-agent: *\nDisallow: /*/ok$\n"), False),
        (text("User-agent: *\nDisallow: /\nAllow: /f/\n"), True),
        (text("User-agent: cartoon-pipeline\nDisallow: /\n"), False),
        (text("User-agent: *\nDisallow: /\n\nUser-agent: Cartoon-Pipeline\nDisallow:\n"), True),
        (text("User-agent: Googlebot\nDisallow: /\n"), True),
        (text("", 404), True),
        (text("no", 403), True),
        (text("\x00\xff nonsense\nDisallow"), True),
        (Reply(b"\xff\xfe\x00bad", "text/plain"), True),
        (text(HUGE), True),
        (text("User-agent: *\nDisallow: /f/\n" + "#" * 2_000_000), False),
        (text(TRAP), True),
        (text("down", 500), False),
        (text("down", 503), False),
        (text("down", 520), False),
    ],
)  # fmt: skip
def test_robots_txt_is_obeyed_and_a_host_that_cannot_say_is_not_asked(
    server: FaultServer, clock: Clock, robots: Reply, allowed: bool
) -> None:
    server.robots = robots
    with fetcher(clock) as fetch:
        for _ in range(3):
            if allowed:
                fetch.get(Ask(server.url("/f/ok"), MOST))
            else:
                with pytest.raises(RobotsError, match=r"robots\.txt"):
                    fetch.get(Ask(server.url("/f/ok"), MOST))
    assert len(asked(server)) == (3 if allowed else 0)
    assert server.paths().count("/robots.txt") == (4 if robots.status >= 500 else 1)  # once a run, tries apart


def test_robots_txt_that_drips_or_breaks_off_means_no(server: FaultServer, clock: Clock) -> None:
    server.robots = Reply(
        b"User-agent: *\nAllow: /", "text/plain", 200, {"Content-Length": "1000", "Connection": "close"}
    )
    with fetcher(clock, timeout_s=0.3, retries=1) as fetch, pytest.raises(RobotsError, match="cannot be read"):
        fetch.get(Ask(server.url("/f/ok"), MOST))
    assert asked(server) == []


def test_a_redirect_to_what_robots_disallow_is_not_followed(server: FaultServer, clock: Clock) -> None:
    server.robots = text("User-agent: *\nDisallow: /secret\n")
    with fetcher(clock) as fetch, pytest.raises(RobotsError):
        fetch.get(Ask(server.url("/f/redirect?to=/secret/page"), MOST))
    assert asked(server) == ["/f/redirect?to=/secret/page"]


def test_robots_txt_is_followed_where_it_redirects_to(server: FaultServer, clock: Clock) -> None:
    server.robots = Reply(b"", status=301, headers={"Location": "/elsewhere.txt"})
    server.pages = lambda _: text("User-agent: *\nDisallow: /f/\n")
    with fetcher(clock) as fetch, pytest.raises(RobotsError, match="disallows it"):
        fetch.get(Ask(server.url("/f/ok"), MOST))
    assert server.paths() == ["/robots.txt", "/elsewhere.txt"]
    server.robots = Reply(b"", status=301, headers={"Location": "/robots.txt"})
    with fetcher(clock) as fetch, pytest.raises(RobotsError, match="more than 5 redirects"):
        fetch.get(Ask(server.url("/f/ok"), MOST))


def test_robots_are_ignored_only_by_name(server: FaultServer, clock: Clock) -> None:
    server.robots = text("User-agent: *\nDisallow: /\n")
    with fetcher(clock, robots="ignore") as fetch:
        assert fetch.get(Ask(server.url("/f/ok"), MOST)).body == png(0)
    assert server.paths() == ["/f/ok"]


@pytest.mark.parametrize("rule", ["Crawl-delay: 9", "Request-rate: 1/9"])
def test_the_pace_that_robots_txt_asks_for_is_kept(server: FaultServer, clock: Clock, rule: str) -> None:
    server.robots = text(f"User-agent: *\n{rule}\nDisallow:\n")
    starts: list[float] = []
    server.pages = lambda _: (starts.append(clock.now), Reply(b"x"))[1]
    with fetcher(clock) as fetch:
        for number in range(4):
            fetch.get(Ask(server.url(f"/{number}"), MOST))
    assert all(later - earlier >= 9 for earlier, later in pairwise(starts))
