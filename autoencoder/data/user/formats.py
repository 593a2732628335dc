"""Formats of files, by their first bytes and suffixes: those that are read, and what to do else."""

import bz2
import gzip
import io
import lzma
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from autoencoder.base.errors import UserError
from autoencoder.base.files import named_errors
from autoencoder.data.names import is_visible

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Pictures by suffix, with Pillow's formats for them. Pillow's other formats are never tried: some
# of them start programs.
PICTURES = {
    **{".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"},
    **dict.fromkeys((".pbm", ".pgm", ".pnm", ".ppm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG2000"),
}

_COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": zstd.ZstdFile,
}
_DAMAGES = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstd.ZstdError),
    EOFError,
)

# Kinds by their first bytes: those with a reader, and others.
_CONTENTS = {
    "npy": rb"\x93NUMPY",
    "idx": rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x04]",
    "parquet": rb"PAR1",
    "picture": rb"\x89PNG|\xff\xd8\xff|BM....\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0\x0cjP",
    ".h5": rb"\x89HDF",
    ".mat": rb"MATLAB 5",
    ".xlsx": rb"\xd0\xcf\x11\xe0",
    ".arrow": rb"ARROW1|\xff\xff\xff\xff....\x10\0\0\0",
    ".pkl": rb"\x80[\x02-\x05]",
    ".pdf": rb"%PDF",
    ".7z": rb"7z\xbc\xaf|Rar!",
    ".gif": rb"GIF8",
    ".heic": rb"....ftyp(hei|mif)",
    ".avif": rb"....ftypavi",
    ".jxl": rb"\xff\x0a|\0\0\0\x0cJXL",
    ".tar": rb".{257}ustar",
    ".html": rb"(?i:\s*<(!doctype|html|head|\?xml))",
    ".lfs": rb"version https://git-lfs",
    ".arff": rb"(?i:(%[^\n]*\n|\s)*@relation)",
    ".sqlite": rb"SQLite format 3",
    ".json": rb'\s*[{\[]\s*["{\[]',
}
_MAGICK = "{}; convert it with `magick FILE{} NAME.png`"
_OTHERS = {
    ".h5": 'HDF5; write it as .npz with `python -c "import h5py, numpy; found = {}; '
    "h5py.File('FILE').visititems(lambda key, value: hasattr(value, 'shape') and "
    "found.update({key.replace('/', '_'): value[()]})); numpy.savez('NAME.npz', **found)\"` "
    "(`pip install h5py`)",
    ".mat": 'MATLAB; write it as .npz with `python -c "import numpy, scipy.io; '
    "numpy.savez('NAME.npz', **scipy.io.loadmat('FILE'))\"` (`pip install scipy`)",
    ".xlsx": 'Excel; save it as CSV, or with `python -c "import pandas; '
    "pandas.read_excel('FILE').to_csv('NAME.csv', index=False)\"` (`pip install openpyxl`)",
    ".arrow": "Arrow; write it as Parquet, for instance with `datasets` or pyarrow",
    ".pkl": "pickle, which may run any code when it is loaded; if you trust it, load it with "
    "Python and write its arrays with numpy.savez('NAME.npz', x_train=…, y_train=…)",
    ".arff": 'ARFF; write it as CSV with `python -c "import pandas, scipy.io.arff; '
    "pandas.DataFrame(scipy.io.arff.loadarff('FILE')[0]).map(lambda cell: cell.decode() if "
    "isinstance(cell, bytes) else cell).to_csv('NAME.csv', index=False)\"` (`pip install scipy`)",
    ".7z": "an archive of 7-Zip or RAR; unpack it with `7z x` into a directory",
    ".tar": "tar; unpack it with `tar xf` into a directory",
    ".sqlite": "SQLite; write its table as CSV with `sqlite3 -csv NAME 'select * from TABLE'`",
    ".json": "JSON; write its images as CSV or .npz, with a label and the pixels of each",
    ".html": "a web page, not the data that it links to; open it in a browser, download the data",
    ".lfs": "a pointer of Git LFS, not the file itself; run `git lfs pull` where it comes from",
    ".pdf": "PDF; convert it with `pdftoppm -png FILE NAME`",
    ".jfif": "JPEG; rename it to NAME.jpg",
    **{x: _MAGICK.format(x[1:].upper(), "") for x in (".heic", ".avif", ".svg", ".jxl", ".ico")},
    ".gif": _MAGICK.format("GIF", "[0]"),
}
_ALIASES = {
    **{".xls": ".xlsx", ".ods": ".xlsx", ".hdf5": ".h5", ".pickle": ".pkl", ".pt": ".pkl"},
    **{".pth": ".pkl", ".feather": ".arrow", ".rar": ".7z", ".heif": ".heic", ".tgz": ".tar"},
    **{".jsonl": ".json", ".db": ".sqlite", ".htm": ".html"},
}
# Documents next to data, by suffix or name.
_COMPANY = re.compile(
    r".*\.(md|rst|html?|json|ya?ml|toml|py|ipynb|r|sh|bib|cff|docx?|rtf|odt|pdf|log|xml|css|js|dvc)"
    r"|(readme|licen[cs]e|copying|notice|authors|citation|changelog|credits|about|sha\d+sums?|md5s?"
    r"|checksums?|.*sample_?submission|.*mapping|.*categories|.*class_?names|.*\.names)(\.\w+)*",
    re.IGNORECASE,
)


def is_company(path: Path) -> bool:
    """Tell whether a file next to data is about it: a README, a licence, a mapping."""
    return _COMPANY.fullmatch(path.name.replace("-", "_")) is not None


def identify(path: Path) -> str:
    """Return which reader a file needs: table, npy, npz, idx, parquet or picture.

    Raises
    ------
    UserError
        If there is none, with what the file is and a command that makes it readable.
    """
    suffix = path.suffix.lower()
    if path.is_fifo():
        raise UserError(f"{path}: a pipe, expected a file; write it to a file first")
    if suffix in PICTURES:
        return "picture"
    with open_stream(path) as stream:
        start = stream.read(512)
        kind = next((kind for kind, pattern in _CONTENTS.items() if _starts(pattern, start)), "")
    if start.startswith(b"PK\3\4"):
        kind = _kind_of_archive(path)
    if not kind:
        suffixes = [_ALIASES.get(x.lower(), x.lower()) for x in path.suffixes]
        kind = next((x for x in reversed(suffixes) if x in _OTHERS), "table")
    if kind in _OTHERS:
        raise UserError(f"{path}: {explain(kind, path)}")
    if kind == "table" and suffix == ".parquet":
        return "parquet"
    if kind == "table" and b"\0" in start and start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(
            f"{path}: of no known format, expected a table, arrays or pictures; write it as CSV or "
            "with numpy.savez"
        )
    return kind


def explain(kind: str, path: Path) -> str:
    """Say what a file that cannot be read is, and how to make it readable."""
    name = re.sub(r"(\.\w{1,5}){1,2}$", "", path.name) or path.name
    return _OTHERS[kind].replace("NAME", name).replace("FILE", path.name)


def explanation(path: Path) -> str | None:
    """Explain a file that is something else than its suffix says: a web page, another format."""
    start = path.read_bytes()[:512] if path.is_file() else b""
    kinds = [kind for kind in _OTHERS if kind in _CONTENTS and _starts(_CONTENTS[kind], start)]
    kinds += [_ALIASES.get(path.suffix.lower(), path.suffix.lower())]
    return explain(kinds[0], path) if kinds[0] in _OTHERS else None


def _starts(pattern: bytes, start: bytes) -> bool:
    return re.match(pattern, start, re.DOTALL) is not None


def _kind_of_archive(path: Path) -> str:
    """Tell the formats apart that are zip archives."""
    with open_seekable(path) as file:
        names = zipfile.ZipFile(file).namelist()
    if any(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.endswith("data.pkl") for name in names):
        return ".pkl"
    if any(name.startswith(("xl/", "[Content_Types]")) or name == "content.xml" for name in names):
        return ".xlsx"
    raise UserError(
        f"{path}: an archive of {len(_members(names))} files, expected one table; unpack it into a "
        "directory next to it, for instance with `unzip`"
    )


def _members(names: list[str]) -> list[str]:
    is_data = [not name.endswith("/") and is_visible(Path("/", name), Path("/")) for name in names]
    return [name for name, chosen in zip(names, is_data, strict=True) if chosen]


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn the errors of damaged files into user errors."""
    try:
        with named_errors(path):
            yield
    except _DAMAGES as error:
        raise UserError(f"{path}: damaged ({error}); replace it by a complete copy") from error
    except OSError as error:
        if error.errno is None:  # of the decompressors
            raise UserError(f"{path}: damaged ({error}); replace it") from error
        raise


@contextmanager
def open_stream(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading from its start, uncompressed, or the one file of a zip archive."""
    with ExitStack() as stack, damage(path):
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"PK\3\4") and path.suffix.lower() != ".npz":
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = _members(archive.namelist())
            if len(members) == 1 and not members[0].endswith(".npy"):
                try:
                    file = stack.enter_context(archive.open(members[0]))
                except RuntimeError as error:  # encrypted, or compressed by an unusual method
                    raise UserError(f"{path}: {error}; unpack it") from error
            else:
                file.seek(0)
        for magic, decompress in _COMPRESSIONS.items():
            if start.startswith(magic):
                file = stack.enter_context(decompress(file))
        yield file


@contextmanager
def open_seekable(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as `open_stream` does, by way of a temporary file if it is compressed."""
    with open_stream(path) as stream:
        if isinstance(stream, io.BufferedReader):
            yield stream
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield copy
