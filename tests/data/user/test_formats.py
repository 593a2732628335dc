"""Files of formats without a reader: the command in the refusal makes them readable."""

import gzip
import shlex
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.digits import concatenate, draw_digits, named, write_pictures
from helpers.reading import check, check_split, refused
from PIL import Image

from autoencoder.data.user.images import iter_images

TRAIN, TEST = draw_digits(60, seed=3), draw_digits(40, seed=11)
LABELS, IMAGES = named(TRAIN)
TEXT = pd.DataFrame(IMAGES).assign(label=LABELS).to_csv(index=False)


def follow(path: Path) -> None:
    """Do as the refusal of a file says, in its directory."""
    message = refused(path)
    subprocess.run(message.split("`")[1], shell=True, check=True, cwd=path.parent)
    assert message.endswith(f", then move {shlex.quote(path.name)} away")
    path.unlink()


def run_python(program: str, *needs: str, cwd: Path) -> None:
    """Run a program with optional packages, or skip the test if they are missing."""
    imports = f"import {', '.join(needs)}"
    if subprocess.run(["python", "-c", imports], capture_output=True).returncode:
        pytest.skip(f"without {needs}")
    subprocess.run(["python", "-c", f"{imports}, numpy\n{program}"], check=True, cwd=cwd)


WRITERS = {
    "HDF5 with groups": (
        "h5py",
        "t.h5",
        "with h5py.File('it\\'s a t.h5', 'w') as file:\n"
        "    for key, value in numpy.load('t.npz').items(): file[key.replace('_', '/')] = value",
    ),
    "MATLAB 7.3": (
        "h5py",
        "t.mat",
        "with h5py.File('it\\'s a t.mat', 'w', userblock_size=512) as file:\n"
        "    for key, value in numpy.load('t.npz').items(): file[key.replace('_', '/')] = value.T\n"
        "    file['#refs#/a'] = numpy.zeros((3, 28, 28))\n"
        "with open('it\\'s a t.mat', 'r+b') as file: file.write(b'MATLAB 7.3 MAT-file')",
    ),
    "structs of MATLAB": (
        "scipy.io",
        "t.mat",
        "data = {'mapping': numpy.arange(20).reshape(10, 2)}\n"
        "for key, value in numpy.load('t.npz').items():\n"
        "    part = data.setdefault(key.split('_')[0], {'writers': numpy.arange(9)[:, None]})\n"
        "    part[key.split('_')[1]] = value.reshape(len(value), -1)\n"
        "scipy.io.savemat('it\\'s a t.mat', {'dataset': data})",
    ),
}


@pytest.mark.process
@pytest.mark.parametrize("form", WRITERS)
def test_commands_for_arrays_are_complete(tmp_path: Path, form: str) -> None:
    package, name, program = WRITERS[form]
    arrays: dict[str, Any] = {"train_images": TRAIN[1], "train_labels": TRAIN[0]}
    folder = tmp_path / "my data"
    folder.mkdir()
    np.savez(folder / "t.npz", **arrays, test_images=TEST[1], test_labels=TEST[0])
    run_python(program, package, cwd=folder)
    (folder / "t.npz").unlink()
    follow(folder / f"it's a {name}")
    check_split(folder, TRAIN, TEST)


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_commands_for_encodings_are_complete(tmp_path: Path, encoding: str) -> None:
    text = TEXT.replace(",5\n", ",é\n")
    (tmp_path / "my t.csv").write_bytes(text.encode(encoding))
    follow(tmp_path / "my t.csv")
    labels, images = concatenate(iter_images(tmp_path))
    assert (labels == np.where(LABELS == "5", "é", LABELS)).all()
    assert (images == IMAGES).all()


def arff(frame: pd.DataFrame) -> str:
    names = [f"@attribute p{n} numeric" for n in range(784)] + [
        "@attribute label {0,1,2,3,4,5,6,7,8,9}"
    ]
    return "\n".join(["@relation digits", *names, "@data", frame.to_csv(header=False, index=False)])


TEXTS: dict[str, Callable[[pd.DataFrame], str]] = {
    "t.csv": lambda x: x.to_csv(header=False, index=False),
    "t.data": lambda x: x.to_csv(header=False, index=False, sep=" "),
    "t.json": lambda x: x.to_json(orient="records"),
    "wrong suffix.csv": lambda x: x.to_json(orient="records"),
    "my t.jsonl": lambda x: x.to_json(orient="records", lines=True),
    "t.arff": arff,
}


@pytest.mark.process
@pytest.mark.parametrize("name", TEXTS)
def test_commands_for_tables_are_complete(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(IMAGES).assign(label=LABELS.astype(int))
    (tmp_path / name).write_text(TEXTS[name](frame))
    follow(tmp_path / name)
    labels, images = concatenate(iter_images(tmp_path))
    assert (labels == LABELS).all()
    assert (images == IMAGES).all()


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        ("a b.heic", b"", "`magick 'a b.heic'[0] 'a b.png'`, then move 'a b.heic' away"),
        ("a.dng", b"II*\0", "`magick a.dng[0] a.png`"),
        (
            "a.db",
            b"SQLite format 3",
            "`sqlite3 -csv -header a.db 'select * from \"TABLE\"' > a.csv`",
        ),
        ("a.xls", b"\xd0\xcf\x11\xe0", "`pip install pandas openpyxl xlrd odfpy`"),
        ("a b.7z", b"7z\xbc\xaf", "`7z x 'a b.7z' '-oa b'`, then move 'a b.7z' away"),
        ("a.csv", b"", "an empty file; replace it by a complete copy, or remove it"),
        ("a.npy", b"", "an empty file"),
        ("a.arff", b"...", "ARFF; write it as CSV with `python -c "),
        ("a.xlsx", b"...", "a spreadsheet; "),
        ("a.hdf5", b"...", "HDF5; "),
        ("a.pt", b"...", "pickle, which may run any "),
        ("a.tar.gz", b"...", "tar xf a.tar.gz -C a`"),
        ("a.gif", b"...", "`magick a.gif[0] a.png`"),
    ],
)
def test_commands(tmp_path: Path, name: str, content: bytes, command: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert command in refused(tmp_path / name)


@pytest.mark.parametrize("form", ["gzip of gzip", "zip of gzip", "zip of npz"])
def test_compressed_twice(tmp_path: Path, form: str) -> None:
    content = gzip.compress(TEXT.encode())
    if form == "zip of npz":
        np.savez(tmp_path / "a.npz", images=TRAIN[1], labels=TRAIN[0])
        content = (tmp_path / "a.npz").read_bytes()
    if form == "gzip of gzip":
        (tmp_path / "t").write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(tmp_path / "t", "w") as archive:
            archive.writestr("inner", content)
    check(tmp_path / "t", TRAIN)


@pytest.mark.parametrize("compress", [gzip.compress, None])
def test_a_compressed_picture_is_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes] | None
) -> None:
    write_pictures(tmp_path, TRAIN)
    picture = next(tmp_path.rglob("*.png"))
    if compress:
        (tmp_path / "t").write_bytes(compress(picture.read_bytes()))
    else:
        with zipfile.ZipFile(tmp_path / "t", "w") as archive:
            archive.write(picture)
    assert "/t: a compressed picture file; unpack it" in refused(tmp_path / "t")


def test_jpe_is_a_suffix_of_pictures(tmp_path: Path) -> None:
    for name in ("1.png", "2.jpe"):
        Image.fromarray(TRAIN[1][0]).save(tmp_path / name)
    assert concatenate(iter_images(tmp_path))[0].tolist() == ["1.png", "2.jpe"]
