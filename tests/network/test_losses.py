"""The file of losses: every cell is checked."""

from pathlib import Path

import pytest

from autoencoder.base.errors import UserError
from autoencoder.network.losses import Epoch, read_losses, write_losses


@pytest.mark.parametrize("epochs", [1, 2])
def test_losses_are_read_as_written(tmp_path: Path, epochs: int) -> None:
    history = [Epoch(1, train=0.25, validation=0.5), Epoch(2, train=0.125, validation=0.1234567)]
    write_losses(tmp_path / "loss.csv", history[:epochs])
    assert read_losses(tmp_path / "loss.csv").to_dict("list") == {
        "epoch": [1, 2][:epochs],
        "train": [0.25, 0.125][:epochs],
        "validation": [0.5, 0.123457][:epochs],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated after 0 lines, expected one line per epoch"),
        (b"epoch,train,validation\n", "truncated after 1 lines, expected one line per epoch"),
        (
            b"epoch,train,validation\n1,0.3,0.3\n2,0.2,0.2",
            "truncated after 2 lines, expected one line",
        ),
        (b"epoch,train\n1,0.3\n", "line 1 is 'epoch,train', expected epoch,train,validation"),
        (b"<<<<<<< HEAD\nepoch,train,validation\n", "line 1 is '<<<<<<< HEAD', expected epoch"),
        (
            b"epoch,train,validation\n1,0.3,0.3\n2,nan,0.3\n",
            "line 3 is '2,nan,0.3', expected three",
        ),
        (b"epoch,train,validation\n1,0.3\n", "line 2 is '1,0.3', expected three numbers"),
        (b"epoch,train,validation\n1,0.3,0.3,0.3\n", "line 2 is '1,0.3,0.3,0.3', expected three"),
        (b"\xff\xfee\0\n", "line 1 is '��e"),
    ],
)
def test_bad_losses_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "loss.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"loss.csv: {message}.*; let `dvc repro` write"):
        read_losses(tmp_path / "loss.csv")


def test_losses_are_shown_with_five_decimals() -> None:
    assert str(Epoch(3, train=0.25, validation=0.1234567)) == "BCE 0.25000, validation 0.12346"
