"""The command line of stages and tools: arguments, help text and error reports."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from autoencoder.base import params, startup
from autoencoder.base.errors import UserError
from autoencoder.base.inputs import Inputs

Paths = TypeVar("Paths")


@dataclass(frozen=True)
class Option:
    """Marks an option ``--name`` of a program, with its settings for `argparse`."""

    help: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Reads(Option):
    """Marks an option ``--name PATH`` of a file or directory that a program reads."""


class Writes(Option):
    """Marks an option ``--name PATH`` of a file or directory that a program writes."""


def make_parser(description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser of a program that `run` runs."""
    main_spec = sys.modules["__main__"].__spec__
    parser = argparse.ArgumentParser(
        prog=f"python -m {main_spec.name.removesuffix('.__main__')}" if main_spec else None,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def run_stage(
    main: Callable[[Paths, Inputs], None],
    paths: type[Paths],
    description: str | None,
    uses: Sequence[str] = (),
) -> None:
    """Parse the command line of a stage, or of a tool that works like one, and run it.

    The fields of `paths`, a dataclass, become the options: ``Annotated[Path, Reads("help text")]``,
    with `Writes` or `Option` for others. A ``Path | None`` may be left out. `uses` are the
    parameters that the program reads. It is an error if the inputs have changed when `main`
    returns.
    """

    def parse_and_run() -> None:
        arguments, read = _parse(paths, description, uses)
        inputs = Inputs.read(read, uses)
        main(arguments, inputs)
        inputs.check_unchanged()

    run(parse_and_run)


def _parse(
    paths: type[Paths], description: str | None, uses: Sequence[str]
) -> tuple[Paths, list[Path]]:
    """Parse the command line; return the paths, and those of them that are read."""
    used = params.explain(uses) or ["none"]
    epilog = "\n  ".join([f"parameters, from {params.FILE}:", *used])
    parser = make_parser(description or "", epilog)
    groups = {
        Reads: parser.add_argument_group("reads"),
        Writes: parser.add_argument_group("writes"),
        Option: parser,
    }
    hints = get_type_hints(paths, include_extras=True)
    options = {name: hint.__metadata__[0] for name, hint in hints.items()}
    for name, option in options.items():
        is_required = hints[name].__origin__ is Path
        path_settings = {"type": Path, "required": is_required, "metavar": "PATH"}
        settings = option.settings or path_settings
        groups[type(option)].add_argument(f"--{name}", help=option.help, **settings)
    arguments = parser.parse_args()
    values = {name: getattr(arguments, name) for name in options}
    given = {name: value for name, value in values.items() if value is not None}
    read, written = (
        {name: path for name, path in given.items() if isinstance(options[name], kind)}
        for kind in (Reads, Writes)
    )
    refuse_overwriting(read, written)
    return paths(**values), list(read.values())


def refuse_overwriting(inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Raise UserError if an output is an input or another output, or a directory that contains one.

    Both are given by the names of their options.
    """
    for name, path in outputs.items():
        for other_name, other in {**inputs, **outputs}.items():
            if other_name != name and _contains(path, other):
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

    Only the end of a pipe's reader is not reported.
    """
    startup.end_imports()
    logging.basicConfig(level=logging.INFO)
    for handler in logging.root.handlers:
        handler.setFormatter(_PrintableFormatter("%(message)s"))
    try:
        main()
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
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return place + (error.strerror or str(error))
        case KeyboardInterrupt():
            return "interrupted"
        case MemoryError():
            return f"out of memory: {error}" if str(error) else "out of memory"
        case RuntimeError() if "allocate memory" in str(error) or "out of memory" in str(error):
            # Of PyTorch's lines, the one that says so: after it may come advice for debugging.
            lines = str(error).strip().splitlines()
            reason = next(line for line in reversed(lines) if "memory" in line)
            return f"out of memory: {reason}"
    return None
