"""The command line of stages and tools: arguments, help text and error reports."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoencoder import params
from autoencoder.errors import UserError


def parse_paths(
    description: str,
    *,
    reads: Mapping[str, str],
    writes: Mapping[str, str],
    uses: Sequence[str] = (),
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

    Returns
    -------
    Namespace
        A Path for each name in `reads` and `writes`.
    """
    width = max(map(len, uses), default=0)
    lines = [f"  {name:{width}}  {params.Params.model_fields[name].description}" for name in uses]
    main_spec = sys.modules["__main__"].__spec__
    parser = argparse.ArgumentParser(
        prog=f"python -m {main_spec.name}" if main_spec else None,
        description=description,
        epilog="\n".join([f"parameters, from {params.FILE}:", *(lines or ["  none"])]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for title, paths in (("reads", reads), ("writes", writes)):
        group = parser.add_argument_group(title)
        for name, help_text in paths.items():
            group.add_argument(
                f"--{name}", type=Path, required=True, metavar="PATH", help=help_text
            )
    return parser.parse_args()


def run(main: Callable[[], None]) -> None:
    """Run `main`, reporting user errors in one line on standard error, with exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(
            f"error: {error.filename}: {error.strerror}" if error.strerror else f"error: {error}"
        )
    except KeyboardInterrupt:
        sys.exit("error: interrupted")
