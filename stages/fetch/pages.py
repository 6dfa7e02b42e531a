"""Web pages that arrive where a file should: which page it is, and where the file is, if the page says so."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlencode

DRIVE = "https://drive.usercontent.google.com/download"
_HEADS = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_PAGES = {
    "quota": "Google Drive's quota page: too many people fetched the file lately; try again in a day",
    "too many users": "Google Drive's quota page: too many people fetched the file lately; try again in a day",
    "sign in": "a login page: the file is not public (any more)",
    "sign-in": "a login page: the file is not public (any more)",
    "not found": "a page that says the file does not exist",
}


def is_page(content_type: str, start: bytes) -> bool:
    """Whether a body is a web page, by its type or its first bytes."""
    return content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml") or (
        start.lstrip().lower().startswith(_HEADS)
    )


def what_page(text: str) -> str:
    """Say which page it is, as far as known."""
    lowered = text.lower()
    for sign, meaning in _PAGES.items():
        if sign in lowered:
            return meaning
    return "a web page, not the file"


def url_of(address: str) -> str:
    """Return what to ask for an address: ``drive:ID`` is a file on Google Drive, anything else is an address."""
    if address.startswith("drive:"):
        query = {"id": address.removeprefix("drive:"), "export": "download", "confirm": "t"}
        return f"{DRIVE}?{urlencode(query)}"
    return address


def confirmed(text: str) -> str | None:
    """Return the address behind the button of Drive's page "cannot be scanned for viruses"; None on other pages."""
    form = _Form()
    form.feed(text)
    if form.action is None or not form.action.startswith(DRIVE):
        return None
    return f"{form.action}?{urlencode(form.fields)}"


class _Form(HTMLParser):
    """Reads the form ``download-form`` of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form's address and its hidden fields."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("id") == "download-form":
            self.action, self._inside = given.get("action"), True
        elif tag == "input" and self._inside and given.get("type") == "hidden" and "name" in given:
            self.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Leave the form."""
        if tag == "form":
            self._inside = False
