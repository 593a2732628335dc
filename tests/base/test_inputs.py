"""What a program started with, compared with what is there when it ends."""

import os
from pathlib import Path

import pytest
import yaml
from helpers.project import small_params

from autoencoder.base.errors import UserError
from autoencoder.base.inputs import Inputs


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """The inputs of a program that uses the seed, a file and the files of a directory."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(small_params()))
    Path("file").write_text("1")
    Path("directory/inside").mkdir(parents=True)
    Path("directory/inside/file").write_text("1")
    os.mkfifo("directory/pipe")
    monkeypatch.setattr("autoencoder.base.inputs.loaded_modules", lambda: {"step.py": "1"})
    return Inputs.read(map(Path, ("file", "directory", "missing")), ["seed"])


def test_inputs_are_the_parameters_and_regular_files(inputs: Inputs) -> None:
    assert inputs.params.model_dump() == {"seed": 0}
    status = Path("file").stat()
    assert inputs.files.keys() == {"file", "directory/inside/file"}
    assert inputs.files["file"] == (1, status.st_mtime_ns, status.st_ino)
    assert inputs.code == {"step.py": "1"}
    inputs.check_unchanged()


def test_a_program_without_parameters_needs_no_file_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autoencoder.base.inputs.loaded_modules", dict)
    Inputs.read([], []).check_unchanged()


def test_each_change_is_named(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(small_params() | {"seed": 1, "z_size": 9}))
    code = {"step.py": "2", "later.py": "1"}
    monkeypatch.setattr("autoencoder.base.inputs.loaded_modules", lambda: code)
    Path("missing").touch()
    expected = "^params.yaml: seed is 1, was 0; missing has changed; step.py has changed, so"
    with pytest.raises(UserError, match=expected):
        inputs.check_unchanged()


@pytest.mark.parametrize("name", ["file", "directory/inside/file"])
def test_a_file_is_changed_by_its_size_its_time_or_a_replacement(inputs: Inputs, name: str) -> None:
    path = Path(name)
    status = path.stat()
    times = (status.st_atime_ns, status.st_mtime_ns)

    def longer() -> None:
        path.write_text("12")
        os.utime(path, ns=times)

    def replaced() -> None:
        Path("other").write_bytes(path.read_bytes())
        os.utime("other", ns=times)
        Path("other").replace(path)

    for change in (longer, lambda: os.utime(path, ns=(0, 0)), replaced, path.unlink):
        change()
        with pytest.raises(UserError, match=f"^{name} has changed, so the result would not match"):
            inputs.check_unchanged()
        inputs = Inputs.read(inputs.paths, ["seed"])
        inputs.check_unchanged()
        status = path.stat() if path.exists() else status
        times = (status.st_atime_ns, status.st_mtime_ns)
