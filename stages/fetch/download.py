"""One file from one address: resumed where it broke off, never under its final name before it is whole."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from model.errors import NetworkError, ResourceError
from model.files import atomic_write_json
from model.progress import Progress
from stages.fetch.pages import confirmed, is_page, url_of, what_page
from stages.web.client import BrokenOffError, Limits, stream

ATTEMPTS = 5  # of an address whose body breaks off or that is busy
LONGEST_WAIT_S = 30.0  # for a busy server; longer, the next address is better
LARGEST = 64 * 2**30  # bytes of one file
_PAGE = 2**20  # bytes of a web page that are read to see which it is
_CHUNK = 2**20
_MEGA = 1e6


class Unavailable(NetworkError):  # noqa: N818
    """This address does not give the file; another one may."""


class _Interrupted(Exception):  # noqa: N818
    """The body broke off or the server is busy: worth another try after ``wait_s``."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class _Partial:
    """What a partial file is a part of."""

    address: str
    validator: str  # strong ETag or Last-Modified; "" if the server gave none
    total: int  # bytes; 0 if the server did not say


def download(
    address: str, part: Path, size: int | None, limits: Limits, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Fetch an address into ``part``, continuing what an earlier try left there.

    Args:
        address: a URL or ``drive:ID``.
        part: where the bytes go; ``<part>.json`` beside it says what they are a part of.
        size: bytes the file must have; None if unknown.
        limits: of waiting.
        sleep: waits between tries.

    Raises: Unavailable with the reason if this address does not give a file of that size; ResourceError without room.
    """
    for attempt in range(ATTEMPTS):
        try:
            _attempt(address, part, size, limits)
            return
        except _Interrupted as error:
            last = str(error)
            if error.wait_s > LONGEST_WAIT_S:
                break
            if attempt + 1 < ATTEMPTS:
                sleep(error.wait_s or 0.5 * 2**attempt)
    raise Unavailable(last)


def discard(part: Path) -> None:
    """Remove a partial file."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _attempt(address: str, part: Path, size: int | None, limits: Limits) -> None:
    known = _left_from(address, part)
    start = part.stat().st_size if known else 0
    if known and start and start == known.total:
        return
    headers = {"Range": f"bytes={start}-", "If-Range": known.validator} if known and start else {}
    url: str | None = url_of(address)
    for _ in range(2):  # Drive may ask for a confirmation first
        assert url is not None
        with stream(url, headers, limits) as response:
            _refuse_status(response, part)
            url = _page_behind(response)
            if url is None:
                _receive(response, address, part, size, start if response.status_code == 206 else 0)
                return
    raise Unavailable("Google Drive asks for a confirmation again and again")


def _left_from(address: str, part: Path) -> _Partial | None:
    """Return what an earlier try of the same address left, if it can be continued."""
    try:
        known = _Partial(**json.loads(_note(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        discard(part)
        return None
    if known.address != address or not known.validator or not part.exists():
        discard(part)
        return None
    return known


def _refuse_status(response: httpx.Response, part: Path) -> None:
    code = response.status_code
    if code in (200, 206):
        return
    if code in (429, 500, 502, 503, 504):
        raise _Interrupted(f"HTTP {code}, the server is busy", _retry_after(response))
    if code == 416:
        discard(part)
        raise _Interrupted("HTTP 416, the file has changed", 0.0)
    meaning = {401: "needs a login", 403: "is not public", 404: "does not exist", 410: "is gone"}.get(code, "")
    raise Unavailable(f"HTTP {code}" + (f", the file {meaning}" if meaning else ""))


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else 0.0


def _page_behind(response: httpx.Response) -> str | None:
    """Return None for a file; where to go from a page that asks for a confirmation.

    Raises: Unavailable for any other page.
    """
    if not is_page(response.headers.get("content-type", ""), b""):
        return None
    text = b""
    for chunk in response.iter_bytes(_CHUNK):
        text += chunk
        if len(text) > _PAGE:
            break
    page = text.decode("utf-8", "replace")
    url = confirmed(page)
    if url is None:
        raise Unavailable(what_page(page))
    return url


def _receive(response: httpx.Response, address: str, part: Path, size: int | None, start: int) -> None:
    """Append the body to the partial file, or begin it anew."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unavailable("the server sends the file compressed, which hides its size")
    if response.status_code == 206 and not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
        discard(part)
        raise _Interrupted("the server continued somewhere else", 0.0)
    length = response.headers.get("content-length", "")
    total = start + int(length) if length.isdigit() else 0
    most = size or LARGEST
    if (size and total and total != size) or total > most:
        raise Unavailable(f"the file there has {total} bytes, expected {most}")
    if total and shutil.disk_usage(part.parent).free < total - start:
        raise ResourceError(
            f"{part.parent}: {total - start} bytes are needed, expected that much free space; make room"
        )
    validator = response.headers.get("etag", "") or response.headers.get("last-modified", "")
    if start == 0:
        discard(part)
    atomic_write_json(_note(part), asdict(_Partial(address, "" if validator.startswith("W/") else validator, total)))
    _copy(response, part, most, start, total)


def _copy(response: httpx.Response, part: Path, most: int, start: int, total: int) -> None:
    here = start
    with part.open("ab") as file, Progress(part.stem, total / _MEGA or None, "MB") as progress:
        progress.resume_at(start / _MEGA)
        try:
            for chunk in response.iter_raw():  # as it comes: what has come is kept when the body breaks off
                if here == 0 and is_page("", chunk[:200]):
                    raise Unavailable(what_page(chunk[:_PAGE].decode("utf-8", "replace")))
                here += len(chunk)
                if here > most:
                    raise Unavailable(f"the file there has more than the expected {most} bytes")
                file.write(chunk)
                progress.update(len(chunk) / _MEGA)
        except BrokenOffError as error:
            raise _broke_off(here, total) from error
    if total and here < total:
        raise _broke_off(here, total)


def _broke_off(here: int, total: int) -> _Interrupted:
    return _Interrupted(f"broke off after {here} of {total or 'unknown'} bytes", 0.0)
