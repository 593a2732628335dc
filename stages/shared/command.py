"""A stage on the command line: its arguments, its help and its errors."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stages import InputError
from stages.shared import params


def parse(
    description: str,
    *,
    reads: Mapping[str, str],
    writes: Mapping[str, str],
    uses: Sequence[str] = (),
) -> tuple[argparse.Namespace, params.Params]:
    """Read a stage's arguments from the command line and its parameters from params.yaml.

    Parameters
    ----------
    description : str
        What the stage does, for ``--help``.
    reads, writes : mapping of str to str
        Name of each file or folder that the stage reads or writes, to a word on what it is. Each
        becomes a required option ``--name PATH``.
    uses : sequence of str
        The parameters that the stage uses.

    Returns
    -------
    arguments : Namespace
        A Path for each name in `reads` and `writes`.
    parameters : Params
        Those named in `uses`.

    Raises
    ------
    InputError
        If params.yaml is at fault, in any of its parameters.
    """
    width = max(map(len, uses), default=0)
    lines = [f"  {name:{width}}  {params.Params.model_fields[name].description}" for name in uses]
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{Path(sys.argv[0]).stem}",
        description=description,
        epilog="\n".join([f"uses, from {params.FILE}:", *(lines or ["  nothing"])]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for title, paths in (("reads", reads), ("writes", writes)):
        group = parser.add_argument_group(title)
        for name, what in paths.items():
            group.add_argument(f"--{name}", type=Path, required=True, metavar="PATH", help=what)
    return parser.parse_args(), params.read(uses)


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`; what a user can mend ends in one line on standard error, status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(
            f"error: {error.filename}: {error.strerror}" if error.strerror else f"error: {error}"
        )
    except KeyboardInterrupt:
        sys.exit("error: interrupted")
