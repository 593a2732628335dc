"""Run the pipeline for several values of a parameter and plot the scores: `make sweep`.

Each value becomes a DVC experiment. Two of them run at a time.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from tqdm import tqdm

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError, one_line
from autoencoder.base.files import atomic_write
from autoencoder.base.params import FILE, Params, parse_params, validate_params
from autoencoder.plots import save
from tools.review.run import METRICS, RECORD, read_parameters
from tools.review.seed_noise import column_text, conditions
from tools.revisions import Files, git, resolve
from tools.sweep_plot import draw

DIRECTORY = Path("sweeps")

POLL_S = 10  # between two queries of the queue
# No worker has answered for this long: they have died, are not just starting or busy.
WORKERLESS_S = 90


def dvc(*arguments: str) -> str:
    """Run a DVC command and return its output; a failure is a UserError."""
    # A file, not a pipe: the workers that `dvc queue start` starts would keep a pipe open.
    with tempfile.TemporaryFile("w+") as file:
        command = [sys.executable, "-m", "dvc", *arguments]
        status = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
        file.seek(0)
        output = file.read()
    if status:
        print(output, file=sys.stderr)
        raise UserError(f"`dvc {' '.join(arguments)}` failed, see above")
    return output


def queue() -> tuple[list[str], int]:
    """Return the experiments that are queued or running, and the number of active workers."""
    status = dvc("queue", "status")
    unfinished = re.findall(r"^\S+ +(\S+) .* (?:Queued|Running)$", status, re.M)
    (workers,) = re.findall(r"^Worker status: (\d+) active", status, re.M)
    return unfinished, int(workers)


def check_repository() -> None:
    """Check that experiments can be queued and their results found.

    A UserError if the clone is shallow or lacks files of HEAD, or other experiments are queued,
    which would run, too.
    """
    resolve("HEAD")
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            "this clone is shallow, and DVC would lose the results of its queue: "
            "run `git fetch --unshallow` first"
        )
    if others := queue()[0]:
        raise UserError(
            f"other experiments are queued or running: {', '.join(others)}; let them finish with "
            f"`dvc queue start`, or drop them with `dvc queue remove {' '.join(others)}` (running "
            "ones with `dvc queue kill`)"
        )


def wait(experiments: list[str]) -> None:
    """Wait until none of the experiments is queued or running, with a progress bar.

    A UserError on Ctrl-C, or if no worker is left to run them.
    """
    left = experiments
    last_active = time.monotonic()
    try:
        with tqdm(total=len(experiments), unit="run") as bar:
            while left and time.monotonic() - last_active < WORKERLESS_S:
                time.sleep(POLL_S)
                unfinished, workers = queue()
                left = [name for name in experiments if name in unfinished]
                if workers:
                    last_active = time.monotonic()
                bar.n = len(experiments) - len(left)
                bar.refresh()
    except KeyboardInterrupt as error:
        raise UserError(
            f"interrupted; {', '.join(left)} continue in the background: `dvc queue status` shows "
            f"them, `dvc queue kill {' '.join(left)}` stops them, and this command, typed again "
            "when they are done, collects the results"
        ) from error
    if left:
        raise UserError(
            f"the workers of the queue have died, {', '.join(left)} did not finish: drop them with "
            f"`dvc queue kill {' '.join(left)}`, then run this command again; it trains only what "
            "is missing"
        )


def parse_values(name: str, text: str) -> list[Any]:
    """Parse the values of a parameter, validate params.yaml with each, and return each once.

    `text` is YAML, separated by commas: ``8, 16``, or ``[512, 256], [256]`` for lists. DVC's
    ``range(8, 17, 8)``, integers from 8 to below 17 in steps of 8, stands for its numbers. A
    UserError if there is no value, or one is not valid.
    """

    def numbers(match: re.Match[str]) -> str:
        return ",".join(map(str, range(*map(int, match[1].split(",")))))

    try:
        expanded = re.sub(r"(?<![^,\s])range\(([^()]*)\)(?![^,\s])", numbers, text)
        given = YAML(typ="safe").load(f"[{expanded}]")
        if not given:
            raise ValueError("no values")
    except (YAMLError, ValueError, LookupError, RecursionError) as error:
        raise UserError(
            f"{name}: {one_line(error)}, expected values separated by commas, such as "
            f"8,16,32, found {text!r}"
        ) from error
    current = parse_params(FILE.read_bytes())
    values: list[Any] = []
    for value in given:
        source = f"{FILE} with {name}: {column_text(value)}"
        checked = getattr(validate_params({**current, name: value}, source), name)
        if checked not in values:
            values.append(checked)
    return values


def scores(name: str, experiment: str) -> dict[str, Any]:
    """Read the parameter `name` of an experiment, its metrics, and its other `conditions`.

    A UserError or OSError if it did not finish.
    """
    files = Files(experiment)
    params = read_parameters(files)
    made = conditions(json.loads(files.read(RECORD)), params["dataset"])
    made.pop(name, None)  # the first column
    value = params[name]
    cell = column_text(value) if isinstance(value, list) else value
    return {name: cell, **json.loads(files.read(METRICS)), **made}


def has_more_values(path: Path, table: pd.DataFrame) -> bool:
    """Tell whether a table in a file has more rows than another of the same conditions."""
    try:
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (FileNotFoundError, ValueError):
        return False
    conditions_of = table.iloc[:, 1:].select_dtypes(exclude="number")
    same = all(name in old and set(conditions_of[name]) <= set(old[name]) for name in conditions_of)
    return same and len(old) > len(table)


def main() -> None:
    """Queue an experiment for each value, run them, and write the table and the plot."""
    parser = make_parser(__doc__)
    parser.add_argument("parameter", choices=Params.model_fields, metavar="PARAMETER")
    parser.add_argument(
        "values", metavar="VALUES", help="comma-separated values: 8,16,32 or [512,256],[256]"
    )
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time (%(default)s)")
    arguments = parser.parse_args()
    name = arguments.parameter
    values = parse_values(name, arguments.values)
    check_repository()
    # JSON is a subset of Hydra's grammar, but for a backslash or ${ in a text.
    overrides = ",".join(json.dumps(value, ensure_ascii=False) for value in values)
    queued = dvc("exp", "run", "--queue", "-S", f"{name}={overrides}")
    experiments = re.findall("Queued experiment '(.+)'", queued)
    dvc("queue", "start", "--jobs", str(arguments.jobs))
    wait(experiments)

    rows, problems = [], []
    for value, experiment in zip(values, experiments, strict=True):
        try:
            rows.append(scores(name, experiment))
        except (UserError, OSError):
            problems.append(
                f"{name}={column_text(value)} failed, see `dvc queue logs {experiment}`"
            )
    if rows:
        table, path = pd.DataFrame(rows), DIRECTORY / f"{name}.csv"
        shown = table.drop(columns=table.iloc[:, 1:].select_dtypes(exclude="number"))
        print(shown.to_string(index=False), flush=True)
        if has_more_values(path, table):
            problems.append(
                f"{path} stays as it is, because it has more values: sweep over those as well, or "
                "delete it first; nothing is trained again"
            )
        else:
            with atomic_write(path) as partial:
                table.to_csv(partial, index=False)
            save(draw(table), path.with_suffix(".png"))
    if problems:
        raise UserError("; ".join(problems))


if __name__ == "__main__":
    run(main)
