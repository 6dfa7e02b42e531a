"""An explanation as aligned text, and several as the README's table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from model.finetune.technique import GROUPS, Augmentation
from stages.explain.dry_run import CASES, Explanation, Part, listed

NETWORKS = ("generator", "discriminator")
HEAD = (
    "method", "what trains", "what comes from the source", "losses beside the adversarial one", "parameters trained",
)  # fmt: skip
NONE = "–"  # noqa: RUF001 (what a table shows for nothing)


def as_text(found: Explanation, networks_from: str) -> str:
    """Return the report of one method, lines of aligned columns."""
    rows: list[tuple[str, ...]] = [("part", "", "parameters trained", "", "style rows", "from the source's mapping")]
    for network in NETWORKS:
        rows.append((network, "", *_counts(*found.count(network)), "", ""))
        rows += [_line(part, found) for part in found.parts if part.network == network]
    lines = [
        f"{found.method}: networks of {found.resolution} px, {networks_from}",
        *(f"  {name}: {_plain(settings) or 'no settings'}" for name, settings in found.settings.items()),
        "",
        *_aligned(rows, right={2, 3}),
        "",
        *_aligned([*_losses_text(found), ("style mixing", _mixing(found)), ("augmentation", augmentation(found))]),
        "",
        "Training starts from the source's weights; what is fixed stays the source's, bit for bit.",
    ]
    return "\n".join(lines) + "\n"


def as_markdown(explanations: Sequence[Explanation]) -> str:
    """Return the table of several methods, one row each, and a line on what they share."""
    extras = {found.method: _extras(found) for found in explanations}
    shared = [extra for extra in extras[explanations[0].method] if all(extra in other for other in extras.values())]
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for found in explanations:
        own = [extra for extra in extras[found.method] if extra not in shared]
        rows.append((f"`{found.method}`", _trains(found), _from_source(found), "; ".join(own) or NONE, _trained(found)))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    common = [*shared, *_common_augmentation(explanations)]
    if common:
        who = "Every method" if len(explanations) > 1 else "This method"
        lines += ["", f"{who} starts from the source's weights and has {listed(common)}."]
    return "\n".join(lines) + "\n"


def augmentation(found: Explanation) -> str:
    """Say how the discriminator's images are transformed."""
    asked = found.augmentation
    if asked is None:
        return "none"
    what = _transforms(asked)
    if asked.ada is None:
        return f"{what} with probability {asked.p:g}"
    return (
        f"ADA: {what}, probability from {asked.p:g}, {asked.ada.kimg:g} kimg for 0 to 1, sign of D held at "
        f"{asked.ada.target:g}"
    )


def _transforms(asked: Augmentation) -> str:
    every = [name for names in GROUPS.values() for name in names]
    chosen = [name for name in every if name in asked.transforms]
    return f"all {len(every)} transformations" if chosen == every else listed(chosen)


def _common_augmentation(explanations: Sequence[Explanation]) -> list[str]:
    found = {augmentation(explanation) for explanation in explanations}
    return [f"augmentation ({found.pop()})"] if len(found) == 1 and found != {"none"} else []


def _extras(found: Explanation) -> list[str]:
    """Return the losses beside the adversarial ones, and an augmentation, as phrases of a table."""
    config = found.config
    path = f"path length (weight {config.path_weight:g}, every {config.path_every} batches)"
    r1 = f"R1 (weight {config.r1_gamma:g}, every {config.r1_every} batches)"
    own = [_words(loss.technique) + f" ({loss.compared} held near the source's"
           + (f", weight {loss.weight:g})" if loss.weight is not None else ")") for loss in found.losses]  # fmt: skip
    return [r1] * bool(config.r1_gamma) + [path] * found.path_length + own


def _losses_text(found: Explanation) -> list[tuple[str, str]]:
    config = found.config
    rows = [("losses of the generator", "adversarial, logistic")]
    path = f"weight {config.path_weight:g}, every {config.path_every} batches" if found.path_length else "no"
    rows.append(("  path length", path))
    for loss in found.losses:
        weight = "" if loss.weight is None else f", weight {loss.weight:g}"
        rows.append((f"  {loss.technique}", f"{loss.compared} against the source's{weight}"))
    rows.append(("losses of the discriminator", "adversarial, logistic"))
    r1 = f"weight {config.r1_gamma:g}, every {config.r1_every} batches" if config.r1_gamma else "no"
    rows.append(("  R1", r1))
    return rows


def _mixing(found: Explanation) -> str:
    if not found.mixes:
        return "none: the last row of every image comes from its first code"
    return f"two codes in {found.config.mixing_prob:.0%} of the batches"


def _line(part: Part, found: Explanation) -> tuple[str, ...]:
    state = {0: "fixed", part.total: "trains"}.get(part.trained, "in part")
    return (f"  {part.name}", state, *_counts(part.trained, part.total), span(part.rows), _taken(part.rows, found))


def _counts(trained: int, total: int) -> tuple[str, str]:
    return f"{trained:,}", f"of {total:,}"


def _taken(rows: Sequence[int], found: Explanation) -> str:
    """Say which of these rows come from the source's mapping network, and when."""
    whens: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        if row in found.source_rows:
            whens.setdefault(found.source_rows[row], []).append(row)
    return "; ".join(span(taken) + _when(cases) for cases, taken in whens.items())


def _when(cases: tuple[str, ...]) -> str:
    return "" if len(cases) == len(CASES) else f" ({listed(cases)})"


def _trains(found: Explanation) -> str:
    return "; ".join(f"{network}: {_parts_text(found, network, fixed=False)}" for network in NETWORKS)


def _from_source(found: Explanation) -> str:
    fixed = _parts_text(found, "generator", fixed=True)
    words = [] if fixed == "nothing" else [f"{fixed} of the generator"]
    whens: dict[tuple[str, ...], list[int]] = {}
    for row, cases in found.source_rows.items():
        whens.setdefault(cases, []).append(row)
    for cases, rows in whens.items():
        when = "of every image" if len(cases) == len(CASES) else f"in some batches ({listed(cases)})"
        words.append(f"style rows {span(rows)} {when}")
    return "; ".join(words) or "the starting weights alone"


def _parts_text(found: Explanation, network: str, *, fixed: bool) -> str:
    """Name the parts of a network that train (or do not), blocks as a span of sizes."""
    parts = [part for part in found.parts if part.network == network]
    chosen = [part for part in parts if (part.trained == 0) == fixed]
    if len(chosen) == len(parts):
        return "everything"
    sizes = sorted(part.resolution for part in chosen if part.resolution)
    words = [part.name for part in chosen if not part.resolution and part.name != "head"]
    words += [f"blocks of {_sizes(sizes)} px"] if sizes else []
    words += [part.name for part in chosen if part.name == "head"]
    return listed(words) if words else "nothing"


def _sizes(sizes: Sequence[int]) -> str:
    if len(sizes) > 2 and sizes[-1] == sizes[0] << (len(sizes) - 1):
        return f"{sizes[0]} to {sizes[-1]}"
    return listed([str(size) for size in sizes])


def _trained(found: Explanation) -> str:
    counts = {network: found.count(network) for network in NETWORKS}
    return ", ".join(f"{name} {_short(trained)} of {_short(total)}" for name, (trained, total) in counts.items())


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def span(numbers: Sequence[int]) -> str:
    """Write neighbouring numbers as ``0-3``, others one by one."""
    if len(numbers) > 1 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(settings: object) -> str:
    if not isinstance(settings, dict):
        return ""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _aligned(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Pad columns; those numbered in ``right`` stand to the right."""
    table = [tuple(row) for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
