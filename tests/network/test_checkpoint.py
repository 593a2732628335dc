"""Checkpoints: read back whole by the same run, kept for other runs."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from autoencoder.network.checkpoint import Checkpoints

LINEAGE = {"parameters": {"seed": 1}, "train_md5": "abc", "code": {"a.py": "1"}, "device": "cpu"}


def checkpoints(directory: Path, **changes: Any) -> Checkpoints:
    return Checkpoints(directory, LINEAGE | changes)


def test_the_same_run_reads_what_was_written(tmp_path: Path) -> None:
    state = {"weights": torch.rand(3), "step": torch.tensor(7.0)}
    checkpoints(tmp_path / "new").save(state, epoch=2)
    loaded = checkpoints(tmp_path / "new").load()
    assert loaded is not None
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    checkpoints(tmp_path / "new").delete()
    assert checkpoints(tmp_path / "new").load() is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parameters": {"seed": 2}}, "seed was 1, is 2"),
        ({"train_md5": "abd"}, "the training table was different"),
        ({"code": {"a.py": "2"}}, "a.py was different"),
        ({"device": "cuda"}, "device was cpu, is cuda"),
    ],
)
def test_another_run_keeps_it_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    caplog.set_level("INFO")
    first = checkpoints(tmp_path)
    first.save({"weights": torch.zeros(3)}, epoch=7)
    other = checkpoints(tmp_path, **changes)
    assert other.load() is None
    assert f"{first.path}: kept, epoch 7 of another run: {reason}" in caplog.messages
    other.save({"weights": torch.ones(3)}, epoch=1)
    loaded = checkpoints(tmp_path).load()
    assert loaded is not None
    assert loaded["weights"].sum() == 0


def test_the_oldest_ones_are_deleted(tmp_path: Path) -> None:
    for seed in range(5):
        run = checkpoints(tmp_path, parameters={"seed": seed})
        run.save({"weights": torch.rand(3)}, epoch=1)
        os.utime(run.path, (seed, seed))
    checkpoints(tmp_path, parameters={"seed": 3}).save({"weights": torch.rand(3)}, epoch=2)
    kept = [
        seed
        for seed in range(5)
        if checkpoints(tmp_path, parameters={"seed": seed}).load() is not None
    ]
    assert kept == [2, 3, 4]


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_damaged_file_is_no_checkpoint(tmp_path: Path, length: int) -> None:
    run = checkpoints(tmp_path)
    run.save({"weights": torch.rand(300)}, epoch=1)
    run.path.write_bytes(run.path.read_bytes()[:length])
    assert run.load() is None
    assert checkpoints(tmp_path, device="cuda").load() is None


def test_the_file_of_another_run_is_no_checkpoint_whatever_its_name(tmp_path: Path) -> None:
    other = checkpoints(tmp_path, device="cuda")
    other.save({"weights": torch.rand(3)}, epoch=1)
    run = checkpoints(tmp_path)
    other.path.rename(run.path)
    assert run.load() is None


def test_a_flipped_bit_is_found_wherever_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {"weights": torch.rand(30), "losses": torch.rand(3, dtype=torch.float64)}
    run = checkpoints(tmp_path)
    run.save(state, epoch=1)
    whole = run.path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        run.path.write_bytes(flipped)
        loaded = run.load()
        assert loaded is None or all(torch.equal(loaded[name], state[name]) for name in state)
    assert "damaged (its digest does not match), training starts at the first epoch" in caplog.text


def test_a_checkpoint_that_is_gone_needs_no_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users may have deleted it."""
    run = checkpoints(tmp_path)
    run.delete()
    monkeypatch.setattr(run, "_others", lambda: 3 * [tmp_path / "gone"])
    run.save({"weights": torch.zeros(3)}, epoch=1)


def test_it_is_said_where_a_run_resumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = checkpoints(tmp_path)
    run.save({"weights": torch.zeros(3)}, epoch=2)
    run.load()
    assert caplog.messages == [f"{run.path}: resuming after epoch 2"]
