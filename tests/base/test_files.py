"""Writing: all or nothing."""

import errno
import hashlib
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.project import ROOT

from autoencoder.base.errors import UserError
from autoencoder.base.files import (
    atomic_write,
    file_digest,
    named_errors,
    process_lock,
    walk_files,
)
from autoencoder.data import table
from autoencoder.data.user.images import iter_images
from autoencoder.network.losses import read_losses
from autoencoder.network.model import Autoencoder


def test_the_name_appears_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "directory" / "file"
    with atomic_write(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("ha")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    (tmp_path / ".file.0123abcd.partial").write_text("half")
    with atomic_write(tmp_path / "file") as partial:
        partial.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "whole"


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_a_file_that_is_read_meanwhile_keeps_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"No such file or directory: .*/source"),
        atomic_write(tmp_path / "file"),
    ):
        (tmp_path / "source").read_bytes()


def test_a_name_may_have_247_bytes(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 123 + "x")
    with atomic_write(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "file"):
        pass
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as first:
        first.write_text("first, ")
        with atomic_write(path) as second:
            second.write_text("second")
        with first.open("a") as file:
            file.write("whole")
    assert path.read_text() == "first, whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link") as partial:
        partial.write_text("new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "old"


def test_a_pipe_receives_the_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(
        target=lambda: received.append((tmp_path / "pipe").read_text()), daemon=True
    )
    reader.start()
    with atomic_write(tmp_path / "pipe") as partial:
        partial.write_text("whole")
    reader.join(60)
    assert received == ["whole"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.process
@pytest.mark.parametrize("redirected", [True, False], ids=["file", "pipe"])
def test_standard_output_receives_the_content(tmp_path: Path, redirected: bool) -> None:
    stdout = tmp_path / "stdout"  # not the machine's own, which a mistake would replace
    stdout.symlink_to("/dev/stdout")
    code = (
        "import sys; from pathlib import Path; from autoencoder.base.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as partial: partial.write_text('whole')"
    )
    command = [sys.executable, "-c", code, str(stdout)]
    if redirected:
        (tmp_path / "out").write_text("before, ")
        with (tmp_path / "out").open("a") as out:
            subprocess.run(command, cwd=ROOT, stdout=out, check=True)
        assert (tmp_path / "out").read_text() == "before, whole"
    else:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "whole"
    assert stdout.is_symlink()


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(UserError, match="a device or socket"), atomic_write(tmp_path / "s"):
            pass
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)


def test_an_error_without_a_name_gets_that_of_its_file(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with (
        pytest.raises(OSError, match="input") as caught,
        atomic_write(tmp_path / "output"),
        named_errors(tmp_path / "input"),
    ):
        fail()
    assert caught.value.filename == str(tmp_path / "input")
    with pytest.raises(OSError, match="output") as caught, atomic_write(tmp_path / "output"):
        fail()
    assert caught.value.filename == str(tmp_path / "output")


def read_images(path: Path) -> None:
    for _ in iter_images(path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/mem is Linux only")
@pytest.mark.parametrize(
    ("read", "name"),
    [
        (table.read, "a.csv"),
        (read_images, "a.csv"),
        (read_images, "a.png"),
        (read_images, "a.npy"),
        (read_losses, "loss.csv"),
        (Autoencoder.load, "model"),
        (file_digest, "any"),
    ],
)
def test_an_input_whose_reading_fails_is_named(
    tmp_path: Path, read: Callable[[Path], object], name: str
) -> None:
    path = tmp_path / name
    path.symlink_to("/proc/self/mem")  # opens, but the first read fails with an I/O error
    with pytest.raises((OSError, UserError)) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    refused = pytest.raises(UserError, match=f"process {os.getpid()}; .*`kill {os.getpid()}`")
    with process_lock(path), refused:
        process_lock(path).__enter__()
    with process_lock(path):
        pass


def test_an_error_never_has_the_name_of_the_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught, atomic_write(tmp_path):
        pass  # cannot be renamed to a directory
    assert caught.value.filename == str(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux only")
def test_a_directory_that_takes_no_files_is_named_with_the_file() -> None:
    with pytest.raises(OSError, match="/proc/file") as caught, atomic_write(Path("/proc/file")):
        pass
    assert caught.value.filename == "/proc/file"


def descriptors() -> set[str]:
    """The open ones of this process."""
    return {path.name for path in Path("/dev/fd").iterdir()}


def test_writing_leaves_no_descriptors_open(tmp_path: Path) -> None:
    before = descriptors()
    (tmp_path / ".file.0123abcd.partial").touch()
    with atomic_write(tmp_path / "file"):
        pass
    assert descriptors() <= before


def test_a_temporary_file_that_is_deleted_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process, which took it for that of a killed one."""
    before = descriptors()
    locked: list[str] = []

    def lock(descriptor: int, _: int) -> None:
        (partial,) = tmp_path.iterdir()
        locked.append(partial.name)
        if len(locked) == 1:
            partial.unlink()

    monkeypatch.setattr("fcntl.flock", lock)
    with atomic_write(tmp_path / "file") as partial:
        assert [partial.name] == locked[1:]
        partial.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert descriptors() <= before


def test_the_content_is_on_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash of the system could leave an empty file with that name."""
    synced = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append((tmp_path / "file").exists()))
    with atomic_write(tmp_path / "file"):
        pass
    assert synced == [False]


def test_each_directory_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/file").touch()
    (tmp_path / "inside/loop").symlink_to("..")
    (tmp_path / "inside/nowhere").symlink_to("missing")
    found = sorted(path.name for path in walk_files(tmp_path))
    assert found == ["file", "nowhere"]
    assert [*walk_files(tmp_path / "inside/file")] == [tmp_path / "inside/file"]
    assert [*walk_files(tmp_path / "missing")] == []
