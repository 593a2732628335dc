"""Copying a user's data: exactly the user's files, and only those that changed."""

from pathlib import Path

import pytest

from autoencoder.base.errors import UserError
from autoencoder.data.raw_directory import RawDirectory, copy_user_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def test_user_file_is_copied(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_bytes(b"first")
    for content in (b"first", b"other"):
        source.write_bytes(content)
        copy_user_data(source, RawDirectory(root, tmp_path))
        assert {path.name: path.read_bytes() for path in root.iterdir()} == {"mine.csv": content}


def test_user_directory_is_copied_without_what_is_hidden(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    for name in ("a/1.png", "a/2.png", "b/.DS_Store", "b/1.png", ".git/config"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    copy_user_data(source, RawDirectory(root, tmp_path))
    kept = root / "mine/a/1.png"
    before = kept.stat().st_mtime_ns
    (source / "a/2.png").rename(source / "a/.2.png")
    copy_user_data(source, RawDirectory(root, tmp_path))
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {"mine/a/1.png", "mine/b/1.png"}
    assert kept.stat().st_mtime_ns == before


def test_an_empty_class_is_reported_and_skipped(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "mine"
    for name in ("a", "b", "c/d"):
        (source / name).mkdir(parents=True)
    (source / "a/1.png").write_text("1")
    (source / "b/.DS_Store").write_text("hidden")
    with caplog.at_level("INFO"):
        copy_user_data(source, RawDirectory(root, tmp_path))
    assert [message for message in caplog.messages if "skipped" in message] == [
        f"{source / name}: skipped, nothing in it" for name in ("b", "c")
    ]
    assert [path.name for path in (root / "mine").iterdir()] == ["a"]


def test_a_linked_directory_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine/a").mkdir(parents=True)
    (tmp_path / "mine/a/b").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="mine/a/b: a link to a directory"):
        copy_user_data(tmp_path / "mine", RawDirectory(root, tmp_path))
