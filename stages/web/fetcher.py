"""Whole answers, politely: robots.txt, the host's pace, tries that wait, and limits on what comes."""

from __future__ import annotations

import logging
import random
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from model.errors import NetworkError, UsageError
from stages.sources.settings import Web
from stages.web.addresses import UnresolvedError
from stages.web.client import BrokenOffError, Session
from stages.web.politeness import Pace, retry_after
from stages.web.robots import LARGEST, TOKEN, Robots
from stages.web.wire import Limits

_BUSY = (408, 425, 429)  # and everything from 500 up
_REDIRECTS = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    url: str  # after redirects
    status: int
    kind: str  # media type, in small letters
    body: bytes  # decoded
    whole: bool = True  # False: cut at the limit


@dataclass(frozen=True)
class Ask:
    """One question."""

    url: str
    most: int  # bytes of the body, decoded
    private: Mapping[str, str] = field(default_factory=dict)  # headers for this host only: Cookie, Referer
    allowed: Callable[[httpx.URL], None] = lambda _: None  # raises for a hop that may not be asked
    fit: Callable[[Answer], str] = lambda _: ""  # says what is wrong with an answer; it is asked for again
    checked: bool = True  # by robots.txt, which itself is not


class RefusedError(NetworkError):
    """The server has answered that it does not give this (4xx)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnfitError(NetworkError):
    """Something else comes again and again."""

    def __init__(self, message: str, reason: str, answer: Answer | None) -> None:
        super().__init__(message)
        self.reason, self.answer = reason, answer


class _Again(Exception):  # noqa: N818
    """Worth another try, after ``wait_s`` if the server says so."""

    def __init__(self, reason: str, wait_s: float | None = None, answer: Answer | None = None) -> None:
        super().__init__(reason)
        self.wait_s, self.answer = wait_s, answer


class Fetcher:
    """Fetches one thing after the other."""

    def __init__(
        self,
        web: Web,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: random.Random | None = None,
    ) -> None:
        """Set up; ``clock``, ``sleep`` and ``draw`` as in ``Pace``.

        Raises: UsageError without a contact.
        """
        if not web.contact.strip() or not web.contact.isprintable() or not web.contact.isascii():
            raise UsageError(
                f"crawl.contact: found {web.contact!r}, expected a mail or web address of yours: those who run the "
                "servers must be able to reach you; write it into params.yaml"
            )
        self.web = web
        limits = Limits(read_s=web.timeout_s, deadline_s=web.deadline_s, redirects=_REDIRECTS)
        self._session = Session(limits, f"{TOKEN} (+{web.contact.strip()})", self._before)
        self._pace = Pace(web.download_delay, web.max_delay, clock=clock, sleep=sleep, draw=draw)
        self._robots = Robots(self._robots_txt, lambda url, seconds: self._pace.slow_down(_host(url), seconds))
        self._clock = clock
        self._asked = 0.0
        self._ask: Ask | None = None

    def __enter__(self) -> Fetcher:
        """Use as a context: its end closes the connections."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, ask: Ask) -> Answer:
        """Return a whole answer.

        Raises: RefusedError for a 4xx; UnfitError if what comes is too large or not what fits; RobotsError;
            AddressError; NetworkError naming the address, the tries and the remedy if nothing whole comes.
        """
        try:
            return self._persist(ask.url, lambda: self._once(ask))
        except _Again as last:
            tries = f"{self.web.retries + 1} tries"
            if last.answer is not None:
                raise UnfitError(f"{ask.url}: {last} ({tries})", str(last), last.answer) from last
            raise NetworkError(
                f"{ask.url}: {last}, after {tries}; is the network up, is the server well? What has come so far is "
                "kept: the same command continues later"
            ) from last

    def _persist(self, url: str, once: Callable[[], Answer]) -> Answer:
        """Try as often as allowed, and wait in between; _Again of the last try."""
        last = _Again("")
        for attempt in range(self.web.retries + 1):
            try:
                return once()
            except (BrokenOffError, UnresolvedError) as error:
                last = _Again(str(error))
            except _Again as error:
                last = error
            self._session.close()  # the next try takes no connection that may be in disorder
            if attempt < self.web.retries:
                wait = self._pace.back_off(attempt) if last.wait_s is None else last.wait_s
                log.log(logging.INFO if wait > 10 else logging.DEBUG, "%s: %s; waiting %.0f s", url, last, wait)
                self._pace.hold(_host(httpx.URL(url)), wait)
        raise last

    def _once(self, ask: Ask) -> Answer:
        answer = self._whole(ask)
        reason = ask.fit(answer)
        if reason:
            raise _Again(reason, answer=answer)
        return answer

    def _whole(self, ask: Ask, cut: bool = False) -> Answer:
        outer, self._ask = self._ask, ask
        try:
            with self._session.stream(ask.url, {"Accept-Encoding": "gzip"}, ask.private) as response:
                code = response.status_code
                host = _host(response.request.url)
                self._pace.learn(host, self._clock() - self._asked, code == 200)
                if code in _BUSY or code >= 500:
                    raise _Again(f"HTTP {code}, the server is busy", retry_after(response.headers))
                if code != 200:
                    raise RefusedError(f"{ask.url}: HTTP {code}{_MEANING.get(code, '')}", code)
                body, whole = _body(response, ask, cut)
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                return Answer(str(response.request.url), code, kind, body, whole)
        finally:
            self._ask = outer

    def _before(self, url: httpx.URL) -> None:
        """Check and wait before a hop."""
        assert self._ask is not None
        self._ask.allowed(url)
        if self.web.robots == "obey" and self._ask.checked:
            self._robots.check(url)
        self._pace.wait(_host(url))
        self._asked = self._clock()

    def _robots_txt(self, url: str) -> tuple[int, bytes]:
        """Return status and the first 500 kB of a robots.txt; NetworkError if the host cannot say."""
        ask = Ask(url, LARGEST, checked=False)
        try:
            return 200, self._persist(url, lambda: self._whole(ask, cut=True)).body
        except RefusedError as error:
            return error.status, b""
        except _Again as last:
            raise NetworkError(f"{last}, after {self.web.retries + 1} tries") from last


_MEANING = {
    401: ", it needs a login", 403: ", it is not public", 404: ", it does not exist", 410: ", it is gone",
    451: ", it may not be shown here",
}  # fmt: skip


def _body(response: httpx.Response, ask: Ask, cut: bool) -> tuple[bytes, bool]:
    """Read the body, decoded by at most one layer of gzip, and never more than the limit of it.

    Returns: the bytes, and whether they are all.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnfitError(f"{ask.url}: sent as {encoding!r}, expected gzip or plain", f"sent as {encoding!r}", None)
    inflate = zlib.decompressobj(31) if "gzip" in encoding else None
    body = bytearray()
    for chunk in response.iter_raw():
        try:
            body += inflate.decompress(chunk, ask.most + 1 - len(body)) if inflate else chunk
        except zlib.error as error:
            raise _Again(f"the body is not the gzip that it says ({error})") from error
        if len(body) > ask.most:
            if cut:
                return bytes(body[: ask.most]), False
            reason = f"more than {ask.most / 1e6:g} MB"
            raise UnfitError(f"{ask.url}: {reason}", reason, None)
    if inflate is not None and not inflate.eof:
        raise _Again("the compressed body ends early")
    return bytes(body), True


def _host(url: httpx.URL) -> str:
    return url.netloc.decode("ascii")
