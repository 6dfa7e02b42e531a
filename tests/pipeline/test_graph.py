import re
import subprocess
from pathlib import Path

import pytest

from pipeline.graph import GraphError, StageNode, cache_folder, dvc_command, read_graph, select, stale_stages, to_run

ROOT = Path(__file__).resolve().parents[2]
TOY = """
stages:
  a: {cmd: cp params.yaml a.txt, deps: [params.yaml], outs: [a.txt], meta: {pool: cpu, network: true}}
  b:
    foreach: [x, y]
    do: {cmd: "cp a.txt b-${item}.txt", deps: [a.txt], outs: ["b-${item}.txt"], meta: {pool: gpu}}
  c: {cmd: touch c.txt, deps: [b-x.txt], outs: [c.txt]}
  d: {cmd: cp a.txt d.json, deps: [a.txt], metrics: [d.json: {cache: false}]}
"""


def node(name: str, *upstream: str, dvcfile: str = "dvc.yaml") -> StageNode:
    return StageNode(name, dvcfile, "cpu", False, upstream)


def dot_edges(root: Path) -> set[tuple[str, str]]:
    dot = subprocess.run(dvc_command("dag", "--dot"), cwd=root, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r'"([^"]+)" -> "([^"]+)"', dot))


@pytest.mark.slow
def test_the_graph_is_what_dvc_draws(toy: Path) -> None:
    (toy / "dvc.yaml").write_text(TOY)
    graph = read_graph(toy)
    assert {(up, name) for name, found in graph.items() for up in found.upstream} == dot_edges(toy)
    assert next(iter(graph)) == "a"
    assert graph["a"].network
    assert graph["b@x"].pool == "gpu"
    assert graph["b@x"].kind == "b"
    assert [name for name, found in graph.items() if found.published] == ["d"]


@pytest.mark.slow
def test_the_projects_own_graph_is_what_dvc_draws() -> None:
    graph = read_graph(ROOT)
    assert {(up, name) for name, found in graph.items() for up in found.upstream} == dot_edges(ROOT)
    demo = select(graph, "dvc.yaml")
    assert {found.pool for name, found in demo.items() if found.kind in ("train", "swap", "evaluate")} == {"gpu"}
    assert {found.pool for name, found in demo.items() if found.kind in ("crawl", "crop", "lmdb", "compare")} == {"cpu"}
    assert [name for name, found in demo.items() if found.published] == ["publish"]  # and nothing waits for it
    assert not any("publish" in found.upstream for found in demo.values())
    assert all(name in to_run(demo, ["crawl@flat"]) for name in demo if name.startswith(("train@", "compare")))


@pytest.mark.slow
def test_only_what_changed_and_its_descendants_are_to_run(toy: Path) -> None:
    (toy / "dvc.yaml").write_text(TOY)
    subprocess.run(dvc_command("repro", "-q"), cwd=toy, check=True)
    assert stale_stages(toy, "dvc.yaml") == {}
    (toy / "b-x.txt").unlink()
    (toy / "b-x.txt").write_text("edited")
    stale = stale_stages(toy, "dvc.yaml")
    assert stale == {"b@x": ["b-x.txt modified"], "c": ["b-x.txt modified"]}
    assert list(to_run(read_graph(toy), stale)) == ["b@x", "c"]


def test_descendants_of_a_changed_stage_run_in_order_and_siblings_do_not() -> None:
    graph = {"a": node("a"), "b": node("b", "a"), "x": node("x", "a"), "c": node("c", "b")}
    assert list(to_run(graph, ["b"])) == ["b", "c"]


def test_targets_bring_what_they_need_and_groups_are_targets() -> None:
    graph = {"a": node("a"), "t@x": node("t@x", "a"), "t@y": node("t@y", "a"), "c": node("c", "t@x", "t@y")}
    assert list(select(graph, "dvc.yaml", ["t@x"])) == ["a", "t@x"]
    assert list(select(graph, "dvc.yaml", ["t"])) == ["a", "t@x", "t@y"]
    with pytest.raises(GraphError, match="train: no such stage"):
        select(graph, "dvc.yaml", ["train"])


def test_profiles_do_not_mix() -> None:
    paper = "profiles/paper/dvc.yaml"
    graph = {"a": node("a"), f"{paper}:a": node(f"{paper}:a", dvcfile=paper)}
    assert list(select(graph, paper, ["a"])) == [f"{paper}:a"]
    with pytest.raises(GraphError, match=r"there are stages in: dvc.yaml, profiles/paper/dvc.yaml"):
        select(graph, "profiles/none/dvc.yaml")


def test_a_wrong_dvc_yaml_is_one_message(toy: Path) -> None:
    (toy / "dvc.yaml").write_text("stages: {a: {cmd: 'echo ${nothing}'}}\n")
    with pytest.raises(GraphError, match="DVC cannot read the pipeline"):
        read_graph(toy)


def test_no_project_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(GraphError):
        read_graph(tmp_path)


@pytest.mark.parametrize("setting", ["", "[cache]\n    dir = ../../elsewhere\n", "[cache]\n    dir = /far/away\n"])
def test_the_cache_is_where_dvc_says(toy: Path, setting: str) -> None:
    (toy / ".dvc" / "config.local").write_text(setting)
    command = dvc_command("cache", "dir")
    said = subprocess.run(command, cwd=toy, capture_output=True, text=True, check=True).stdout.strip()
    assert cache_folder(toy).resolve() == (toy / said).resolve()


def test_a_folder_without_dvc_and_broken_settings_are_named(toy: Path) -> None:
    with pytest.raises(GraphError, match="no DVC project here"):
        cache_folder(toy / ".dvc")
    (toy / ".dvc" / "config.local").write_text("[cache\n")
    with pytest.raises(GraphError, match="cannot read its settings"):
        cache_folder(toy)
