"""The command line of stages and tools: arguments, help text and error reports."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from autoencoder.base import params, startup
from autoencoder.base.errors import UserError
from autoencoder.base.inputs import Inputs

_recorded: list[Inputs] = []  # of this program, if it has parsed its command line


def make_parser(description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser of a program that `run` runs."""
    main_spec = sys.modules["__main__"].__spec__
    parser = argparse.ArgumentParser(
        prog=f"python -m {main_spec.name}" if main_spec else None,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def parse_paths(
    description: str,
    *,
    reads: Mapping[str, str],
    writes: Mapping[str, str],
    uses: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
) -> argparse.Namespace:
    """Parse the command line of a stage or tool.

    Parameters
    ----------
    description : str
        What the program does, for ``--help``.
    reads, writes : mapping of str to str
        Name of each file or directory that the program reads or writes, and its help text. Each
        becomes a required option ``--name PATH``.
    uses : sequence of str
        The parameters that the program reads from params.yaml, for ``--help``.
    flags : mapping of str to str, optional
        Name of each ``--name`` without a value, and its help text.

    Returns
    -------
    Namespace
        A Path for each name in `reads` and `writes`, a bool for each in `flags`, and `inputs`, the
        `Inputs` of the program.

    Raises
    ------
    UserError
        If an output is also an input or another output, or a directory that contains one, or if
        params.yaml is not valid.
    OSError
        If params.yaml cannot be read.
    """
    width = max(map(len, uses), default=0)
    lines = [f"  {name:{width}}  {params.Params.model_fields[name].description}" for name in uses]
    parser = make_parser(
        description, "\n".join([f"parameters, from {params.FILE}:", *(lines or ["  none"])])
    )
    for title, paths in (("reads", reads), ("writes", writes)):
        group = parser.add_argument_group(title)
        for name, help_text in paths.items():
            group.add_argument(
                f"--{name}", type=Path, required=True, metavar="PATH", help=help_text
            )
    for name, help_text in (flags or {}).items():
        parser.add_argument(f"--{name}", action="store_true", help=help_text)
    arguments = parser.parse_args()
    inputs = {name: getattr(arguments, name) for name in reads}
    refuse_overwriting(inputs, {name: getattr(arguments, name) for name in writes})
    arguments.inputs = Inputs.read(inputs.values(), uses)
    _recorded.append(arguments.inputs)
    return arguments


def refuse_overwriting(inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Check that no output takes the place of an input or of another output.

    Parameters
    ----------
    inputs, outputs : mapping of str to Path
        By the names of their options.

    Raises
    ------
    UserError
        If an output is also an input or another output, or a directory that contains one.
    """
    pairs = [
        *combinations(outputs.items(), 2),
        *((output, read) for output in outputs.items() for read in inputs.items()),
    ]
    for (name, path), (other_name, other) in pairs:
        if _contains(path, other) or (other_name in outputs and _contains(other, path)):
            raise UserError(
                f"{path}: --{name} would overwrite --{other_name} {other}; choose another path"
            )


def _contains(path: Path, other: Path) -> bool:
    """Tell whether writing to `path` would overwrite `other`, also through links."""
    if path.exists() and other.exists() and path.samefile(other):
        return path.is_dir() or path.is_file()  # two outputs may go to one terminal or /dev/null
    return Path(os.path.realpath(other)).is_relative_to(os.path.realpath(path))


def run(main: Callable[[], None]) -> None:
    """Run `main`, reporting user errors in one line on standard error, with exit status 1.

    It is an error, too, if the inputs that `parse_paths` recorded have changed at the end. Only the
    end of a pipe's reader is not reported.
    """
    startup.end_imports()
    logging.basicConfig(level=logging.INFO)
    for handler in logging.root.handlers:
        handler.setFormatter(_PrintableFormatter("%(message)s"))
    try:
        main()
        for inputs in _recorded:
            inputs.check_unchanged()
    except BrokenPipeError as error:
        if error.filename is None:
            raise
        sys.exit(1)  # without a message, as usual: the reader of the output, say head, has enough
    except (Exception, KeyboardInterrupt) as error:
        message = _describe(error)
        if message is None or "--debug" in sys.argv[1:]:
            raise
        sys.exit(f"error: {_printable(message)}")


class _PrintableFormatter(logging.Formatter):
    """Escapes control characters, which could come from servers, file names and labels."""

    def format(self, record: logging.LogRecord) -> str:
        return _printable(super().format(record))


def _printable(text: str) -> str:
    """Escape what would not be seen on a terminal, or would control it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _describe(error: BaseException) -> str | None:
    """Describe an error that has a cause outside the program, in one line; None for others."""
    match error:
        case UserError():
            return str(error)
        case FileExistsError() if error.filename:
            reason = "not a directory, perhaps a link that leads nowhere"
            return f"{error.filename}: {reason}; remove it, or choose another output"
        case OSError() if error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case OSError():
            return str(error)
        case KeyboardInterrupt():
            return "interrupted"
        case MemoryError():
            return f"out of memory: {error}" if str(error) else "out of memory"
        case RuntimeError() if "allocate memory" in str(error) or "out of memory" in str(error):
            (reason,) = str(error).strip().splitlines()[-1:]  # PyTorch's
            return f"out of memory: {reason}"
    return None
