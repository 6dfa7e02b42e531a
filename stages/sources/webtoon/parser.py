"""The child that reads pages of webtoons.com; see ``stages.web.sandbox``. Knows selectors, decides nothing."""

from __future__ import annotations

import json
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

from stages.web.sandbox import serve

LIST, ITEMS = "#_listUl", "li[data-episode-no]"
VIEWER, IMAGES = "#_imageList", "img._images[data-url]"
_MOST = 100_000  # items of a page
_TEXT = 1000  # letters of a text


def series(content: bytes) -> dict[str, Any]:
    """Read a list page: ``name``, ``found`` (whether there is a list), ``episodes``, ``pages`` (numbers linked to)."""
    tree = LexborHTMLParser(content)
    listed = tree.css_first(LIST)
    title = tree.css_first('meta[property="og:title"]')
    heading = tree.css_first("h1.subj, h3.subj")
    return {
        "name": _attribute(title, "content") or _text(heading),
        "found": listed is not None,
        "episodes": [_episode(node) for node in (listed.css(ITEMS) if listed else [])[:_MOST]],
        "links": [_attribute(node, "href") for node in tree.css('.paginate a[href*="page="]')[:1000]],
    }


def viewer(content: bytes) -> dict[str, Any]:
    """Read a viewer page: ``found``, ``children`` (elements in the list), ``images`` (addresses), ``motion``."""
    tree = LexborHTMLParser(content)
    listed = tree.css_first(VIEWER)
    images = [_attribute(node, "data-url") for node in (listed.css(IMAGES) if listed else [])[:_MOST]]
    return {
        "found": listed is not None,
        "children": len(listed.css("img")) if listed else 0,
        "images": images,
        # A motion toon's pictures come from a document that a script names.
        "motion": any("documentURL" in (node.text() or "") for node in tree.css("script")[:1000]),
    }


def listing(content: bytes) -> dict[str, Any]:
    """Read the episode list as JSON: ``found``, ``episodes``, ``next`` (0 at the end)."""
    result = json.loads(content)
    result = result.get("result") if isinstance(result, dict) else None
    items = result.get("episodeList") if isinstance(result, dict) else None
    if not isinstance(items, list):
        return {"found": False, "episodes": [], "next": 0}
    return {
        "found": True,
        "episodes": [
            {
                "number": item.get("episodeNo"),
                "title": str(item.get("episodeTitle", ""))[:_TEXT],
                "date": item.get("exposureDateMillis"),
                "link": str(item.get("viewerLink", ""))[:_TEXT],
            }
            for item in items[:_MOST]
            if isinstance(item, dict)
        ],
        "next": result.get("nextCursor", 0) if isinstance(result, dict) else 0,
    }


def _episode(node: LexborNode) -> dict[str, Any]:
    return {
        "number": _attribute(node, "data-episode-no"),
        "title": _text(node.css_first(".subj span") or node.css_first(".subj")),
        "date": _text(node.css_first(".date")),
        "link": _attribute(node.css_first("a[href]"), "href"),
    }


def _attribute(node: LexborNode | None, name: str) -> str:
    return ((node.attributes.get(name) if node is not None else None) or "")[:_TEXT]


def _text(node: LexborNode | None) -> str:
    return (node.text(strip=True) if node is not None else "")[:_TEXT]


if __name__ == "__main__":
    serve({"series": series, "viewer": viewer, "listing": listing})
