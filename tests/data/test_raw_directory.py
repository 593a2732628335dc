"""The directory that fetch fills: nothing of the user's is deleted or overwritten there."""

import shutil
from pathlib import Path

import pytest

from autoencoder.base.errors import UserError
from autoencoder.data.raw_directory import RawDirectory


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to fill, in no repository of DVC's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "raw"


def fill(raw: Path, *names: str) -> None:
    """Do what fetch does for these files of the user's data."""
    incoming = raw.with_name("incoming")
    expected = {raw / name: incoming / name for name in names}
    for source in expected.values():
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(source.name)
    missing = [path for path in expected if not path.exists()]
    with RawDirectory(raw, incoming).replacing(expected, missing):
        for path in missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(expected[path], path)


def found(directory: Path) -> list[str]:
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def test_files_of_an_earlier_data_set_are_deleted(raw: Path) -> None:
    fill(raw, "MNIST/raw/images", "MNIST/raw/labels")
    fill(raw, "KMNIST/raw/images")
    assert found(raw) == ["KMNIST/raw/images"]
    assert [path.name for path in raw.iterdir()] == ["KMNIST"]
    fill(raw, "MNIST/raw/images", "MNIST/raw/labels")
    assert found(raw) == ["MNIST/raw/images", "MNIST/raw/labels"]


def test_nothing_is_deleted_if_the_new_files_are_not_written(raw: Path) -> None:
    fill(raw, "MNIST/raw/images")
    directory = RawDirectory(raw, raw.with_name("incoming"))
    with pytest.raises(OSError, match="no network"), directory.replacing([], []):
        raise OSError("no network")
    assert found(raw) == ["MNIST/raw/images"]


def test_one_line_says_how_many_files_are_deleted(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(raw, *(f"MNIST/raw/{number}" for number in range(30)))
    with caplog.at_level("INFO"):
        fill(raw, "KMNIST/raw/images")
    assert caplog.messages == [f"{raw}: deleting 30 files of an earlier data set"]


def test_what_a_killed_process_left_is_deleted(raw: Path) -> None:
    raw.mkdir()
    (raw / ".images.0123abcd.partial").write_text("half")
    fill(raw, "labels")
    assert found(raw) == ["labels"]


def test_a_file_of_the_user_is_refused_by_name(raw: Path) -> None:
    fill(raw, "MNIST/raw/images")
    (raw / "MNIST/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"MNIST/notes\.txt"):
        fill(raw, "KMNIST/raw/images")
    assert found(raw) == ["MNIST/notes.txt", "MNIST/raw/images"]


def test_a_file_that_the_user_changed_is_refused(raw: Path) -> None:
    fill(raw, "own.csv")
    (raw / "own.csv").write_text("edited")
    with pytest.raises(UserError, match=r"own\.csv"):
        fill(raw, "KMNIST/raw/images")
    assert (raw / "own.csv").read_text() == "edited"


def test_a_copy_of_a_file_of_the_user_s_data_is_deleted_whatever_its_name(raw: Path) -> None:
    fill(raw, "own.csv")
    incoming = raw.with_name("incoming")
    (incoming / "own.csv").rename(incoming / "renamed.csv")
    fill(raw, "KMNIST/raw/images")
    assert found(raw) == ["KMNIST/raw/images"]


def test_the_only_copy_is_refused_even_if_fetch_wrote_it(raw: Path) -> None:
    fill(raw, "own.csv")
    (raw.with_name("incoming") / "own.csv").write_text("other.c")  # as many bytes
    with pytest.raises(UserError, match=r"own\.csv: neither published nor in .*/incoming or"):
        fill(raw, "KMNIST/raw/images")
    assert (raw / "own.csv").read_text() == "own.csv"


@pytest.mark.parametrize("linked", ["incoming/own.csv", "incoming"])
def test_a_link_to_the_file_itself_is_no_copy_of_it(raw: Path, linked: str) -> None:
    fill(raw, "own.csv")
    shutil.rmtree(raw.with_name("incoming"))
    link = raw.parent / linked
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(raw / Path(linked).relative_to("incoming"))
    with pytest.raises(UserError, match=r"raw/own\.csv"):
        fill(raw)


def test_of_many_files_some_are_listed(raw: Path) -> None:
    raw.mkdir()
    for number in range(30):
        (raw / f"{number:02}").touch()
    with pytest.raises(UserError, match=r"raw/00, .*raw/19 and 10 more: neither published"):
        fill(raw)


def test_a_linked_directory_with_exactly_the_right_content_works(raw: Path) -> None:
    fill(raw, "MNIST/raw/images")
    shared = raw.rename(raw.with_name("shared"))
    raw.symlink_to(shared)
    (shared / "empty").mkdir()
    (shared / ".images.0123abcd.partial").touch()
    fill(raw, "MNIST/raw/images")
    assert found(shared) == [".images.0123abcd.partial", "MNIST/raw/images"]
    assert (shared / "empty").exists()


@pytest.mark.parametrize("linked", ["raw", "raw/MNIST", "raw/MNIST/raw"])
def test_nothing_behind_a_link_is_changed(raw: Path, linked: str) -> None:
    fill(raw, "MNIST/raw/images")
    link = raw.parent / linked
    shared = link.rename(raw.with_name("shared"))
    link.symlink_to(shared)
    before = found(shared)
    with pytest.raises(UserError, match="behind a link"):
        fill(raw, "KMNIST/raw/images")
    with pytest.raises(UserError, match="behind a link"):
        fill(raw, "MNIST/raw/images", "MNIST/raw/labels")
    assert found(shared) == before
    (shared / "precious").touch()
    with pytest.raises(UserError, match="precious"):
        fill(raw, "MNIST/raw/images")


def test_a_linked_file_is_not_changed(raw: Path) -> None:
    fill(raw, "MNIST/raw/images")
    image = (raw / "MNIST/raw/images").rename(raw.with_name("images"))
    (raw / "MNIST/raw/images").symlink_to(image)
    fill(raw, "MNIST/raw/images")
    with pytest.raises(UserError, match="behind a link"):
        fill(raw, "KMNIST/raw/images")
    assert image.exists()


def test_a_link_that_leads_back_does_not_trap_it(raw: Path) -> None:
    fill(raw, "MNIST/raw/images")
    (raw / "MNIST/loop").symlink_to(raw)
    fill(raw, "MNIST/raw/images")
