import os
from pathlib import Path

import pytest

from muster.audit.collect import Rules, collect, manifest, stdlib_path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    for name in (
        "b.py",
        "a/c.py",
        "a-b.py",
        "LICENSE",
        "README.md",
        "image.png",
        "tests/test_b.py",
        "a/test_c.py",
        "a/__pycache__/c.py",
        "node_modules/x.js",
        ".git/config.py",
        "env/lib/module.py",
        "env/pyvenv.cfg",
        "app.min.js",
        "shop_pb2.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    return root


def paths(root: Path, rules: Rules | None = None) -> list[str]:
    return [source["path"] for source in collect(root, rules)["sources"]]


def test_sources_come_sorted_by_path_without_what_the_rules_leave_out(tree: Path):
    assert paths(tree) == ["LICENSE", "README.md", "a-b.py", "a/c.py", "b.py"]


def test_each_rule_counts_what_it_left_out(tree: Path):
    assert collect(tree)["skipped"] == {
        "generated": 2,
        "hidden": 1,
        "installed": 3,
        "language": 1,
        "tests": 2,
    }


def test_tests_are_read_when_asked_for(tree: Path):
    assert {"tests/test_b.py", "a/test_c.py"} <= set(paths(tree, Rules(with_tests=True)))


def test_huge_and_binary_files_are_left_out(tmp_path: Path):
    (tmp_path / "huge.py").write_bytes(b"x" * 101)
    (tmp_path / "binary.py").write_bytes(b"x = 1\0")
    (tmp_path / "fits.py").write_bytes(b"x" * 100)
    collection = collect(tmp_path, Rules(file_bytes_max=100))
    assert [source["path"] for source in collection["sources"]] == ["fits.py"]
    assert collection["skipped"] == {"binary": 1, "huge": 1}


def test_a_collection_has_a_limit_and_says_what_is_beyond_it(tmp_path: Path):
    for name in "abcd":
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    collection = collect(tmp_path, Rules(files_max=3))
    assert len(collection["sources"]) == 3
    assert collection["skipped"] == {"limit": 1}
    assert len(collect(tmp_path, Rules(collection_bytes_max=13))["sources"]) == 2


def test_links_are_not_followed(tmp_path: Path):
    (tmp_path / "real.py").write_text("x = 1\n")
    os.symlink(tmp_path / "real.py", tmp_path / "link.py")
    os.symlink(tmp_path, tmp_path / "loop")
    assert paths(tmp_path) == ["real.py"]


def test_a_single_file_is_read_whatever_its_name(tmp_path: Path):
    (tmp_path / "test_it.py").write_text("x = 1\n")
    collection = collect(tmp_path / "test_it.py")
    assert collection["target"] == {"name": "test_it.py", "form": "file"}
    assert paths(tmp_path / "test_it.py") == ["test_it.py"]


def test_nothing_at_the_path_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        collect(tmp_path / "nothing")


def test_an_empty_folder_is_an_empty_collection(tmp_path: Path):
    assert collect(tmp_path)["sources"] == []


def test_the_manifest_has_sizes_in_bytes_and_no_machine_path(tmp_path: Path):
    (tmp_path / "é.py").write_text("x = 'é'\n", encoding="utf-8")
    content = manifest(collect(tmp_path))
    assert content["files"] == [{"path": "é.py", "bytes": 9}]
    assert content["target"] == {"name": tmp_path.name, "form": "folder"}


def test_the_default_is_the_standard_library_without_its_tests():
    found = {source["path"] for source in collect(rules=Rules(file_bytes_max=20_000))["sources"]}
    assert {"abc.py", "json/decoder.py", "unittest/case.py"} & found == {
        "abc.py",
        "json/decoder.py",
    }
    assert not [path for path in found if path.startswith(("test/", "site-packages/"))]
    assert not [path for path in found if "_sysconfigdata" in path or path.startswith("config-")]
    assert stdlib_path().name.startswith("python3")
