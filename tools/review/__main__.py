"""Compare the workspace with another revision, for review: `make review`.

Writes a page that opens without a network, and a summary in Markdown. Runs no stage. The exit
status is the gate: 0; 3 if a metric is worse by more than its tolerance; 2 for an error,
such as two runs that cannot be compared. If Python cannot even start this program, it is 1.
"""

import argparse
import math
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from autoencoder.base import startup
from autoencoder.base.cli import make_parser
from autoencoder.base.errors import UserError, one_line
from tools.review import report
from tools.review.compare import compare, verdict
from tools.review.run import WORKSPACE, Run
from tools.review.seed_noise import BETTER, read_seeds
from tools.revisions import Files

# Exit statuses. Python itself ends with 1, 2 or 120, make with 2, a shell with 1, 2 or at least
# 126. "Worse" is none of these, or a program that cannot start would count as a judgement.
WORSE, ERROR = 3, 2


def tolerances(argument: str) -> dict[str, float]:
    """Read tolerances from the command line, such as ``bce=0.0005 mse=0.001``."""
    found = {}
    for word in argument.replace(",", " ").split():
        metric, _, value = word.partition("=")
        if not BETTER.get(metric):
            judged = ", ".join(name for name, arrow in BETTER.items() if arrow)
            raise argparse.ArgumentTypeError(f"{metric!r} is not one of {judged}")
        number = math.nan
        with suppress(ValueError):
            number = float(value)
        if not number >= 0:
            raise argparse.ArgumentTypeError(f"{value!r} for {metric}, expected a number >= 0")
        found[metric] = number
    return found


def main() -> int:
    """Compare, write, judge; return the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "base", nargs="?", default="main", help="revision or experiment (%(default)s)"
    )
    parser.add_argument(
        "--tolerance",
        "-t",
        type=tolerances,
        action="append",
        default=[],
        metavar="METRIC=NUMBER",
        help="how much worse a metric may get (default for bce and mse: the seed noise)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("review"), help="directory to write to (%(default)s)"
    )
    startup.end_imports()
    arguments = parser.parse_args()
    # A terminal may lack the arrow of the verdict.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        out = arguments.out
        if not out.is_dir() and (out.exists() or out.is_symlink()):
            raise UserError(f"{out}: not a directory, expected one for the report")
        files = Files(arguments.base)
        base, current = Run.read(arguments.base, files), Run.read(WORKSPACE, Files(None))
        allowed = {metric: n for given in arguments.tolerance for metric, n in given.items()}
        changes = compare(base, current, read_seeds(files), allowed)
        judged = verdict(changes)
        report.write(out, base, current, changes, judged)
        print(judged[1])
        print(out / "index.html", flush=True)
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {one_line(error) or repr(error)}", file=sys.stderr)
        return ERROR
    return WORSE if any(change.fails for change in changes) else 0


if __name__ == "__main__":
    sys.exit(main())
