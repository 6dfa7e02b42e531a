"""Pictures from the web: what comes is one completely, or it is put aside with the reason."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from model.data.images import decode_image
from model.errors import CorruptInputError
from stages.web.addresses import AddressError
from stages.web.fetcher import Answer, Ask, Fetcher, RefusedError, UnfitError
from stages.web.store import Store

_KINDS = ("", "application/octet-stream", "binary/octet-stream")  # of servers that do not say


@dataclass(frozen=True)
class Way:
    """How pictures of one place are asked for."""

    private: Mapping[str, str]  # headers for the host that is asked only
    allowed: Callable[[httpx.URL], None]  # raises AddressError for a hop that pictures do not come from


class NoPictureError(Exception):
    """None of the addresses gives a picture; a bad item."""


def fetch_picture(urls: Sequence[str], way: Way, fetcher: Fetcher, store: Store, expected: str = "") -> tuple[str, str]:
    """Put a picture into the store, if it is not there yet.

    Args:
        urls: addresses of the same picture, the best first.
        way: how they are asked for.
        fetcher: asks.
        store: keeps what comes.
        expected: sha256; what an address gave earlier is not asked for again, unless it was something else.

    Returns: the address that gave it, and its sha256.
    Raises: NoPictureError with the reasons if the servers do not have it or send something else; NetworkError if they
        cannot be asked now.
    """
    reasons = []
    for url in urls:
        known = store.known(url)
        if known is not None and expected in ("", known) and store.get(known) is not None:
            return url, known
        try:
            answer = fetcher.get(Ask(url, int(fetcher.web.max_image_mb * 1e6), way.private, way.allowed, what_is_wrong))
        except (RefusedError, AddressError) as error:
            reasons.append(str(error))
        except UnfitError as error:
            if error.answer is not None:
                store.quarantine(url, error.answer.body, error.reason)
            reasons.append(str(error))
        else:
            return url, store.add(url, answer.body)
    raise NoPictureError("; ".join(reasons))


def what_is_wrong(answer: Answer) -> str:
    """Say why an answer is no whole picture; nothing if it is one."""
    if answer.kind not in _KINDS and not answer.kind.startswith("image/"):
        return f"{answer.kind} came instead of a picture"
    try:
        size_of(answer.body)
    except CorruptInputError as error:
        return str(error)
    return ""


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height of a picture that decodes completely; CorruptInputError for any other."""
    height, width = decode_image(io.BytesIO(content), "what came").shape[:2]
    return width, height
