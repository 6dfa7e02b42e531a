"""Rules of the house, checked on the files themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = Path(sys.executable).parent  # of this environment, activated or not
PACKAGES = ("model", "pipeline", "stages")
FILE_LINES, FUNCTION_LINES, PARAMETERS = 300, 40, 7
GIVEN = {"self", "cls", "params", "run"}  # by Python, and to every stage by its entry


def sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def code_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_the_packages_import_each_other_only_as_the_design_allows() -> None:
    done = subprocess.run([TOOLS / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_model_needs_neither_pipeline_nor_yaml_nor_any_orchestrator_at_run_time() -> None:
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in sources("model") if p.stem != "__init__"]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names!r}]; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"pipeline", "stages", "yaml", "ruamel.yaml", "dvc", "mlflow", "prefect", "torchvision"}


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES
    for function in functions(path):
        assert code_lines(function) <= FUNCTION_LINES, f"{function.name} has {code_lines(function)} lines"
        arguments = [a.arg for a in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]]
        own = [name for name in arguments if name not in GIVEN]
        assert len(own) <= PARAMETERS, f"{function.name} has {len(own)} parameters"


def test_package_files_are_empty_so_that_a_leaf_never_loads_the_forest() -> None:
    full = [p for p in sources(*PACKAGES) if p.name == "__init__.py" and p.read_text().strip()]
    assert [p.relative_to(ROOT).as_posix() for p in full] == ["model/finetune/__init__.py"]


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"^\s*except\s*:", set()),
        (r"load_state_dict\(.*strict\s*=\s*False", set()),
        (r"weights_only\s*=\s*False", set()),
        (
            r"\btorch\.load\(",
            {f"model/{n}.py" for n in ("checkpoint/rosinality", "checkpoint/inert", "metrics/extractors/loading")},
        ),
        (r"\bpickle\.Unpickler\b", {"model/checkpoint/inert.py"}),
        (r"\bpickle\.load", set()),
        (r"yaml\.(load|unsafe_load|full_load)\(", set()),
        (r"\bextractall\(", set()),
        (r"shell\s*=\s*True", set()),
        (r"(?<!safetensors\.)\btorch\.save\(", {"model/checkpoint/rosinality.py"}),
        (r"\b(TODO|FIXME|XXX)\b", set()),
    ],
)
def test_nothing_swallows_errors_or_runs_what_it_reads(pattern: str, allowed: set[str]) -> None:
    hits = [
        f"{path.relative_to(ROOT).as_posix()}:{number}"
        for path in sources(*PACKAGES)
        if path.relative_to(ROOT).as_posix() not in allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert hits == []


def test_every_stage_file_is_a_stage_of_dvc_and_every_stage_has_its_file() -> None:
    text = "".join((ROOT / name).read_text() for name in ("dvc.yaml", "profiles/assets/dvc.yaml"))
    called = set(re.findall(r"python -m stages\.([a-z_]+)", text))
    commands = {p.stem for p in (ROOT / "stages").glob("*.py") if "__main__" in p.read_text() and p.stem != "entry"}
    assert called == commands


def test_the_lock_pins_hashes_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
    pins = re.findall(r"^[a-z0-9][a-z0-9._-]*(?:\[[a-z,]+\])?==", text, flags=re.M)
    assert len(pins) > 100
    assert text.count("--hash=sha256:") >= len(pins)


def test_readme_commands_exist() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z-]+)", readme)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), f"make {target}"
    for command in set(re.findall(r"\bcartoon-pipeline ([a-z-]+)", readme)):
        done = subprocess.run([TOOLS / "cartoon-pipeline", command, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, command
    for command in set(re.findall(r"\bcartoon ([a-z-]+) ", readme)):
        done = subprocess.run([TOOLS / "cartoon", command, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, command


@pytest.mark.parametrize(("table", "rows"), [("demo", 4), ("showcase", 2 * 4)])
def test_the_readmes_results_are_those_of_the_report(table: str, rows: int) -> None:
    report = (ROOT / "reports" / table / "table.md").read_text().split("### In short")[1].split("\n### ")[0]
    readme = (ROOT / "README.md").read_text()
    lines = [line for line in report.splitlines() if line.startswith("|") and "---" not in line]
    assert len(lines) == 1 + rows  # a head, and the methods on every style
    assert all(line in readme for line in lines)


def test_nothing_names_the_machine_it_was_made_on() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    own = str(ROOT.parent if ROOT.parent != Path(gettempdir()) else ROOT) + "/"  # tests of paths may name the latter
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".lock", ".json", ".csv", ""} and path.is_file():
            text = path.read_text(errors="ignore")
            if name != ".ci/run":
                assert own not in text, name
                assert "../" + "shared/" not in text, name
