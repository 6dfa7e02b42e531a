"""Names of metrics: what was measured, on how many generated images, by which extractor.

``fid1k[stylenet-61b4f7b5]`` is a FID on 1,000 generated images by the extractor in brackets. A metric by a stand-in is
never called plain "FID", and one of 1,000 images never passes for one of 50,000.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_KEY = re.compile(r"(?P<base>[a-z]+)(?P<n>\d+k?)?(?P<rest>(?:_[a-z0-9]+)*)(?:\[(?P<extractor>.+)\])?")


class Name(NamedTuple):
    """A metric's name, taken apart."""

    family: str  # without number and extractor: fid, fid_heldout, kid_x1e3
    n: str  # of generated images as written, "1k"; empty where the name has none
    extractor: str  # empty for a metric without one


def key(family: str, n: int | None = None, extractor: str = "") -> str:
    """Return the full name: ``key("kid_x1e3", 1000, "stylenet-0123")`` -> ``kid1k_x1e3[stylenet-0123]``."""
    base, underscore, rest = family.partition("_")
    brackets = f"[{extractor}]" if extractor else ""
    return f"{base}{'' if n is None else short(n)}{underscore}{rest}{brackets}"


def parse(name: str) -> Name:
    """Take a name apart; a name that :func:`key` did not make is its own family."""
    found = _KEY.fullmatch(name)
    if found is None:
        return Name(name, "", "")
    return Name(found["base"] + found["rest"], found["n"] or "", found["extractor"] or "")


def short(n: int) -> str:
    """Return a count as the field writes it: 50000 -> ``50k``, 500 -> ``500``."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
