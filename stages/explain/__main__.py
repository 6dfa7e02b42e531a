"""``cartoon-pipeline explain``: what methods really train, take from the source and lose by; and the README's table."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.checkpoint.native import read_header
from model.errors import UsageError
from model.files import atomic_write_text
from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import GeneratorConfig
from model.shipped import shipped
from pipeline.params import read_params, read_section
from stages.console import run_command
from stages.explain.dry_run import Explanation, dry_run
from stages.explain.show import as_markdown, as_text
from stages.pretrained import PretrainedParams
from stages.session import TrainParams, config_of

BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"
Architecture = tuple[GeneratorConfig, DiscriminatorConfig]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    found, networks_from = explain(args.params, args.methods)
    if args.readme is not None:
        rewrite(args.readme, as_markdown(found))
    elif args.format == "markdown":
        sys.stdout.write(as_markdown(found))
    else:
        sys.stdout.write("\n".join(as_text(each, networks_from) for each in found))


def explain(params: Path, methods: Sequence[str]) -> tuple[list[Explanation], str]:
    """Try the named methods of a params file, or all of them.

    Returns: the explanations, and where the architecture was read.
    Raises: UsageError for an unknown method, or settings that do not fit the networks.
    """
    values = read_params(params)
    known = values.get("methods")
    if not isinstance(known, dict) or not known:
        raise UsageError(f"{params}: methods: expected a mapping of methods, found {known!r}")
    for name in methods:
        _check_known(params, name, known)
    architecture, networks_from = _architecture(params, str(values.get("profile", "")))
    config = config_of(read_section(params, "train", TrainParams))
    return [dry_run(name, known[name], architecture, config) for name in methods or known], networks_from


def rewrite(readme: Path, table: str) -> None:
    """Put the table between the two marker comments of a Markdown file.

    Raises: UsageError if the markers are not there once each, in order.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{readme}: expected the lines {BEGIN} and {END} once each; put them around the table's place")
    head, rest = text.split(BEGIN)
    atomic_write_text(readme, f"{head}{BEGIN}\n{table}{END}{rest.split(END)[1]}")


def _check_known(params: Path, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"{params}: unknown method {name!r}, expected one of {sorted(known)}{hint}")
    if not isinstance(known[name], dict):
        raise UsageError(
            f"{params}: methods.{name}: found {known[name]!r}, expected a mapping of techniques to settings"
        )


def _architecture(params: Path, profile: str) -> tuple[Architecture, str]:
    """Return the networks of the profile's source if it has been made, of the shipped asset, or config-f."""
    settings = read_section(params, "pretrained", PretrainedParams)
    made = Path("work") / profile / "source" / "networks.safetensors"
    files = [made] if made.is_file() else []
    if settings.weights.startswith("asset:"):
        files.append(shipped(settings.weights.removeprefix("asset:")))
    for path in files:
        header = read_header(path)
        if header.generator and header.discriminator and header.generator.resolution == settings.resolution:
            return (header.generator, header.discriminator), f"as in {path.name if path != made else path}"
    size = settings.resolution
    f = (GeneratorConfig(size, 512, 512, 8, 32768, 512), DiscriminatorConfig(size, 32768, 512))
    return f, f"config-f, as {settings.weights} is not here yet"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.explain", description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="of the params file (default: all)")
    parser.add_argument("--params", type=Path, required=True, help="params file of the profile, from the root")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument("--readme", type=Path, help=f"write the table between {BEGIN} and {END} of this file")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
