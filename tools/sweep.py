"""Run the pipeline for several values of a parameter and plot the scores: `make sweep`.

Each value becomes a DVC experiment. Two of them run at a time.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml
from dvc.api import metrics_show, params_show
from dvc.scm import RevError
from matplotlib.figure import Figure
from tqdm import tqdm

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError
from autoencoder.base.files import atomic_write
from autoencoder.base.params import Params
from autoencoder.plots import default_style, save
from tools.review.seed_noise import describe_data
from tools.revisions import git, reader

DIRECTORY = Path("sweeps")

POLL_S = 10  # between two queries of the queue
WORKERLESS_S = (
    90  # no worker has answered for this long: they have died, are not just starting or busy
)


def dvc(*arguments: str) -> str:
    """Run a DVC command and return its output.

    Raises
    ------
    UserError
        If it fails.
    """
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

    Raises
    ------
    UserError
        If the clone is shallow, or other experiments are queued, which would run, too.
    """
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

    Raises
    ------
    UserError
        On Ctrl-C, or if no worker is left to run them.
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


def scores(name: str, experiments: list[str]) -> pd.DataFrame:
    """Read the metrics of experiments.

    Parameters
    ----------
    name : str
        The parameter that differs between them.
    experiments : list of str

    Returns
    -------
    DataFrame
        One row per experiment: the value of the parameter, each metric, and the data.

    Raises
    ------
    UserError
        If an experiment did not finish.
    """
    rows = []
    for experiment in experiments:
        try:
            value = params_show(rev=experiment)[name]
            lock = yaml.safe_load(reader(experiment)("dvc.lock"))
            metrics = metrics_show(rev=experiment)
            rows.append({name: value, **metrics, "data": describe_data(lock)})
        except RevError as error:
            raise UserError(
                f"experiment {experiment} failed; see `dvc queue logs {experiment}`"
            ) from error
    return pd.DataFrame(rows)


@default_style()
def draw(table: pd.DataFrame) -> Figure:
    """Plot the test loss of each value, and the squared error next to that of PCA.

    Parameters
    ----------
    table : DataFrame
        As `scores` returns it.
    """
    name = table.columns[0]
    values = range(len(table))
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(values, table["bce"], "o-", label="autoencoder")
    left.plot(values, table["bce_floor"], "--", color="gray", label="entropy of the pixels")
    left.set(ylabel="test BCE, mean over pixels")
    right.plot(values, table["mse"], "o-", label="autoencoder")
    right.plot(values, table["mse_pca"], "s-", color="C1", label="PCA of the same size")
    right.set(ylabel="test MSE, pixels in 0..1", yscale="log")
    for axis in (left, right):
        axis.set_xticks(values, table[name].astype(str))
        axis.set(xlabel=name)
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def main() -> None:
    """Queue an experiment for each value, run them, and write the table and the plot."""
    parser = make_parser(__doc__)
    parser.add_argument("parameter", choices=Params.model_fields, metavar="PARAMETER")
    parser.add_argument("values", metavar="VALUES", help="comma-separated values: 8,16,32")
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time (%(default)s)")
    arguments = parser.parse_args()
    check_repository()
    swept = f"{arguments.parameter}={arguments.values}"
    queued = dvc("exp", "run", "--queue", "-S", swept)
    experiments = re.findall("Queued experiment '(.+)'", queued)
    dvc("queue", "start", "--jobs", str(arguments.jobs))
    wait(experiments)

    table = scores(arguments.parameter, experiments)
    with atomic_write(DIRECTORY / f"{arguments.parameter}.csv") as partial:
        table.to_csv(partial, index=False)
    save(draw(table), DIRECTORY / f"{arguments.parameter}.png")
    print(table.to_string(index=False))


if __name__ == "__main__":
    run(main)
