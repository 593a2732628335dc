"""Formats of files, by first bytes and suffixes: those that are read, and what to do otherwise."""

import bz2
import gzip
import io
import lzma
import re
import shlex
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from autoencoder.base.errors import UserError, listed
from autoencoder.base.files import named_errors
from autoencoder.data.names import is_visible
from autoencoder.data.user.roles import role_of, split_of, words

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SUFFIXES = ".bmp .jpg .jpeg .jpe .jfif .png .webp .pbm .pgm .pnm .ppm .tif .tiff .jp2 .j2k .jpx"
PICTURES = _SUFFIXES.split()

_ZIP = b"PK\3\4"
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    EOFError,
    OSError,
    UnicodeDecodeError,  # of names in zip archives
)

# First bytes of the formats with a reader. Those of a zip archive are replaced by "\0zip" and the
# names of its files, each on a line.
_READABLE = {
    "npy": rb"\x93NUMPY",
    "npz": rb"\0zip\n.*\.npy\n",
    "idx": rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x04]",
    "parquet": rb"PAR1",
    "picture": rb"\x89PNG|\xff\xd8\xff|BM....\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP"
    rb"|\0\0\0\x0cjP|P[1-6]\s",
}
_HDF5 = (
    'write it as .npz with `python -c "import h5py, numpy, sys; found = {}; '
    "h5py.File(sys.argv[1]).visititems(lambda key, value: key[0] != '#' and hasattr(value, "
    "'shape') and found.update({key.replace('/', '_'): value[()]}) or None); "
    'numpy.savez(sys.argv[2], **found)" FILE NAME.npz` (`pip install h5py`)'
)
# Those without one, by suffixes and first bytes if they tell: what it is, and what to do.
_OTHERS: dict[tuple[str, bytes], str] = {
    # As in MATLAB's, the axes of arrays are in the opposite order.
    ("", rb"MATLAB 7\.3"): f"MATLAB 7.3; {_HDF5.replace('value[()]', 'value[()].T')}",
    (".h5 .hdf5", rb"\x89HDF"): f"HDF5; {_HDF5}",
    (".mat", rb"MATLAB 5"): 'MATLAB; write it as .npz with `python -c "import numpy, pandas, '
    "scipy.io, sys; found = scipy.io.loadmat(sys.argv[1], simplify_cells=True); numpy.savez("
    "sys.argv[2], **pandas.json_normalize(found, sep='_').iloc[0].filter(regex='^[^_]'))\" FILE "
    "NAME.npz` (`pip install pandas scipy`)",
    (
        ".xlsx .xls .ods",
        rb"\xd0\xcf\x11\xe0|\0zip.*\n(xl/|\[Content_Types\]|content\.xml\n)",
    ): 'a spreadsheet; save it as CSV, or with `python -c "import pandas, sys; '
    'pandas.read_excel(sys.argv[1]).to_csv(sys.argv[2], index=False)" FILE NAME.csv` '
    "(`pip install pandas openpyxl xlrd odfpy`)",
    (".arrow .feather", rb"ARROW1|\xff{4}....\x10\0\0\0"): "Arrow; write it as Parquet, for "
    "instance with datasets.load_from_disk(…)[split].to_parquet(…)",
    (".pkl .pickle .pt .pth", rb"\x80[\x02-\x05]|\0zip.*data\.pkl\n"): "pickle, which may run any "
    "code when it is loaded; if you trust it, load it with Python and write its arrays with "
    "numpy.savez(…, x_train=…, y_train=…) to NAME.npz",
    (".arff", rb"(?i:(%[^\n]*\n|\s)*@relation)"): 'ARFF; write it as CSV with `python -c "import '
    "pandas, scipy.io.arff, sys; pandas.DataFrame(scipy.io.arff.loadarff(sys.argv[1])[0]).map("
    "lambda cell: cell.decode() if isinstance(cell, bytes) else cell).to_csv(sys.argv[2], "
    'index=False)" FILE NAME.csv` (`pip install pandas scipy`)',
    ("", rb"\0zip"): "an archive of several files; unpack it with `unzip FILE -d NAME`",
    (".7z .rar", rb"7z\xbc\xaf|Rar!"): "an archive of 7-Zip or RAR; unpack it with "
    "`7z x FILE -oNAME`",
    (".tar .tgz", rb".{257}ustar"): "tar; unpack it with `mkdir NAME; tar xf FILE -C NAME`",
    (".sqlite .db", rb"SQLite format 3"): "SQLite; write its table as CSV with "
    "`sqlite3 -csv -header FILE 'select * from \"TABLE\"' > NAME.csv`, of a TABLE that "
    "`sqlite3 FILE .tables` lists",
    (".json .jsonl", rb'\s*[{\[]\s*["{\[]'): 'JSON; write it as CSV with `python -c "import '
    "pandas, sys; pandas.read_json(sys.argv[1], lines='jsonl' in sys.argv[1]).to_csv(sys.argv[2], "
    'index=False)" FILE NAME.csv` (`pip install pandas`)',
    (".html .htm", rb"(?i:\s*<(!doctype|html|head|\?xml))"): "a web page, not the data that it "
    "links to; open it in a browser, download the data",
    (".lfs", rb"version https://git-lfs"): "a pointer of Git LFS, not the file itself; run "
    "`git lfs pull` where it comes from",
    (".pdf", rb"%PDF"): "PDF; convert it with `pdftoppm -png FILE NAME`",
    (
        ".dng .cr2 .nef .arw .gif .heic .heif .avif .jxl .svg .ico .psd .tga .xcf .pcx",
        rb"GIF8|....ftyp(hei|mif|avi)|\xff\x0a|\0\0\0\x0cJXL",
    ): "a picture in a format that is not read, such as GIF, HEIC, AVIF, JXL, SVG or raw; "
    "convert it with `magick FILE[0] NAME.png`",
} | {
    ("", pattern): f"a table in {name}; write it in UTF-8 with `iconv -f {name} -t UTF-8 FILE > "
    "NAME.utf8.csv`"
    for name, pattern in {
        "UTF-32": rb"\xff\xfe\0\0|\0\0\xfe\xff",
        "UTF-16LE": rb"([\t-~]\0){4}",
        "UTF-16BE": rb"(\0[\t-~]){4}",
    }.items()
}
# Raw photos look like TIFF, of which Pillow would read the thumbnail.
_RAW = {".dng", ".cr2", ".nef", ".arw"}
# Documents next to data, by suffix or name.
_COMPANY = re.compile(
    r".*\.(md|rst|html?|json|ya?ml|toml|py|ipynb|r|sh|bib|cff|docx?|pptx?|rtf|odt|odp|pages|pdf|log|xml|css|js|dvc|xmp|aae|ini)"
    r"|(readme|licen[cs]e|copying|notice|authors|citation|changelog|credits|about)(\.txt)?"
    r"|(sha\d+sums?|md5s?|checksums?|.*submission.*|.*mapping|.*categories|.*class_?names|.*\.names)(\.\w+)*",
    re.IGNORECASE,
)

UPRIGHT = ", turned upright, because EMNIST's files are transposed"


class Faults(dict[Path, str]):
    """What is wrong with files, collected to be refused all at once."""

    @contextmanager
    def noted(self, path: Path) -> Iterator[None]:
        """Note a UserError of the block as the fault of a file."""
        try:
            yield
        except UserError as error:
            self[path] = str(error).removeprefix(f"{path}: ")

    def refuse(self) -> None:
        """Refuse the files, if there are any; those whose faults differ in names only, once."""
        groups: dict[str, list[Path]] = {}
        for path, fault in self.items():
            groups.setdefault(fault.replace(f"{path.stem}.", "."), []).append(path)
        if self:
            raise UserError(
                listed([f"{listed(x)}: {self[x[0]]}" for x in groups.values()], separator="; ")
            )


def is_company(path: Path) -> bool:
    """Tell whether a file next to data is about it: a README, a licence, a mapping, a marker."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return False
    is_plain = suffix in ("", ".txt") and not role_of(path.name) and not split_of(path.name)
    is_marker = is_plain and path.is_file() and path.stat().st_size == 0
    return is_marker or _COMPANY.fullmatch(path.name.replace("-", "_")) is not None


def is_emnist(path: Path) -> bool:
    """Tell by the name of a file or its directory whether it is of EMNIST.

    Its images are transposed in the published formats: IDX, MATLAB and CSV without a header.
    """
    return "emnist" in words(path.name) + words(path.parent.name)


def identify(path: Path) -> str:
    """Return which reader a file needs: table, npy, npz, idx, parquet, picture or unknown.

    Of known formats without a reader, say what the file is, with a command that makes it readable.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return "picture"
    if path.is_fifo():
        raise UserError(f"{path}: a pipe, expected a file; write it to a file first")
    with open_stream(path) as stream:
        is_packed = not isinstance(stream, BufferedReader)
        start = stream.read(512)
        if start.startswith(_ZIP):
            start = "\n".join(["\0zip", *zipfile.ZipFile(stream).namelist(), ""]).encode()
    for kind, pattern in () if suffix in _RAW else _READABLE.items():
        if re.match(pattern, start, re.DOTALL):
            if is_packed and kind in ("picture", "parquet"):
                raise UserError(f"{path}: a compressed {kind} file; unpack it")
            return kind
    if advice := advice_on(path, start, path.suffixes):
        raise UserError(f"{path}: {advice}")
    if suffix == ".parquet":
        return "parquet"
    if not start:
        raise UserError(f"{path}: an empty file; replace it by a complete copy, or remove it")
    is_binary = b"\0" in start and start[:2] not in (b"\xff\xfe", b"\xfe\xff")
    return "unknown" if is_binary else "table"


def advice_on(path: Path, start: bytes, suffixes: Sequence[str] = ()) -> str | None:
    """Say what a file of `_OTHERS` is, by its first bytes or else suffixes, and what to do."""
    found = [hint for (_, magic), hint in _OTHERS.items() if re.match(magic, start, re.DOTALL)]
    for suffix in reversed(suffixes):
        found += [hint for (names, _), hint in _OTHERS.items() if suffix.lower() in names.split()]
    return advice(path, found[0]) if found else None


def advice(path: Path, hint: str) -> str:
    """Fill in the FILE and NAME of commands, and what to do with the file after them."""
    hint += ", then move FILE away" * ("NAME" in hint)
    name = _bare(path).name
    if path.name in (name + suffix for suffix in re.findall(r"NAME([.\w]*)", hint)):
        name += "-converted"  # nothing is written to FILE itself, whose suffix is wrong
    words = {"FILE": path.name, "-oNAME": f"-o{name}"}

    def quote(match: re.Match[str]) -> str:
        return shlex.quote(words.get(match[0]) or match[0].replace("NAME", name))

    return re.sub(r"FILE|(-o)?NAME[.\w]*", quote, hint)


def is_unpacked(path: Path) -> bool:
    """Tell whether all that an archive or a .gz file contains lies next to it, too."""
    suffix, folder = path.suffix.lower(), _bare(path)
    if suffix in (".7z", ".rar", ".tar", ".tgz") or path.stem.endswith(".tar"):
        return folder.is_dir()
    if suffix not in (".gz", ".zip") or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            if suffix == ".zip":
                members = zipfile.ZipFile(file).infolist()
                sizes = {x.filename: x.file_size for x in members if _is_data(x.filename)}
            else:
                file.seek(-4, io.SEEK_END)  # the size of the content (RFC 1952)
                sizes = {path.stem: int.from_bytes(file.read(), "little")}
        return any(
            all((top / x).is_file() and (top / x).stat().st_size == sizes[x] for x in sizes)
            for top in (path.parent, folder)
        )
    except (*_DAMAGES, ValueError):
        return False


def _is_data(member: str) -> bool:
    """Tell whether a member of a zip archive is a file of the user's."""
    return not member.endswith("/") and is_visible(Path("/", member.lstrip("/")), Path("/"))


def _bare(path: Path) -> Path:
    """Return a path without its suffixes of a format and of a compression."""
    return path.with_name(re.sub(r"(\.\w{1,5}){1,2}$", "", path.name) or path.name)


@contextmanager
def open_stream(path: Path, member: str = "") -> Iterator[BufferedReader]:
    """Open a file for reading from its start, uncompressed.

    Of a zip archive, open the member that is named, or its one file if it is not an array.
    """
    with named_errors(path), ExitStack() as stack:
        try:
            file: Any = stack.enter_context(path.open("rb"))
            while inner := _unpacked(path, file, member):
                file = stack.enter_context(inner)
            yield file
        except _DAMAGES as error:
            if getattr(error, "errno", None):
                raise
            reason = f"damaged ({error}); replace it by a complete copy"
            raise UserError(f"{path}: {reason}") from error


def _unpacked(path: Path, file: Any, member: str) -> Any:
    """Open what a compressed file or a zip archive contains; None if it is neither, or several."""
    start = file.peek(6)
    for magic, decompress in _COMPRESSIONS.items():
        if start.startswith(magic):
            return decompress(file)
    if start.startswith(_ZIP):
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
        data = [member] if member in names else list(filter(_is_data, names))
        if data == [member] or (len(data) == 1 and not data[0].endswith(".npy")):
            try:
                return archive.open(data[0])
            except RuntimeError as error:  # encrypted, or compressed by an unusual method
                raise UserError(f"{path}: {error}; unpack it") from error
        file.seek(0)
    return None
