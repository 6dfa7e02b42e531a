"""Names, places and numbers as people read them; what is said about a difference."""

from __future__ import annotations

MINUS, TIMES, NONE = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"


def readable(name: str) -> str:
    """Return a key of the params file as words: ``structure_loss`` -> ``structure loss``."""
    return name.replace("_", " ")


def swap_words(swap: str, level: int) -> str:
    """Return what is swapped, in words; a kind with a schedule has no level."""
    if swap == "none":
        return "no swap"
    return f"{readable(swap)} up to {level} px" if level else readable(swap)


def place(snapshot: str, swap: str, level: int) -> str:
    """Return where a cell stands within its training, in words."""
    words = swap_words(swap, level)
    return f"{words}, snapshot {readable(snapshot)}" if snapshot else words


def number(value: float | None, digits: int) -> str:
    """Return a number for people; a dash for none."""
    if value is None:
        return NONE
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float, digits: int) -> str:
    """Return a difference with its sign: ``+0.042``."""
    text = number(value, digits)
    return text if text.startswith(MINUS) or not float(text) else f"+{text}"


def chance(p: float) -> str:
    """Return a p-value for people."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
