"""Checkpoints: read back whole by the same run, and by no other."""

from pathlib import Path

import pytest
import torch

from autoencoder.network import checkpoint


def test_the_same_run_reads_what_was_written(tmp_path: Path) -> None:
    state = {"weights": torch.rand(3), "step": torch.tensor(7.0)}
    checkpoint.save(tmp_path / "c", state, fingerprint={"seed": 1})
    loaded = checkpoint.load(tmp_path / "c", {"seed": 1})
    assert loaded is not None
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_another_run_reads_nothing(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", {"weights": torch.rand(3)}, fingerprint={"seed": 1})
    assert checkpoint.load(tmp_path / "c", {"seed": 2}) is None
    assert checkpoint.load(tmp_path / "absent", {"seed": 1}) is None


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_damaged_file_is_no_checkpoint(tmp_path: Path, length: int) -> None:
    checkpoint.save(tmp_path / "c", {"weights": torch.rand(300)}, fingerprint={"seed": 1})
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:length])
    assert checkpoint.load(tmp_path / "c", {"seed": 1}) is None


def test_a_flipped_bit_is_found_wherever_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {"weights": torch.rand(30), "losses": torch.rand(3, dtype=torch.float64)}
    checkpoint.save(tmp_path / "c", state, fingerprint={"seed": 1})
    whole = (tmp_path / "c").read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        (tmp_path / "c").write_bytes(flipped)
        loaded = checkpoint.load(tmp_path / "c", {"seed": 1})
        assert loaded is None or all(torch.equal(loaded[name], state[name]) for name in state)
    assert "damaged (its digest does not match), training starts at the first epoch" in caplog.text
