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
from dvc.api import DVCFileSystem, metrics_show, params_show
from dvc.scm import RevError
from matplotlib.figure import Figure
from tqdm import tqdm

from autoencoder.cli import make_parser, run
from autoencoder.errors import UserError
from autoencoder.files import atomic_write
from autoencoder.params import Params
from autoencoder.plots import default_style, save
from tools.seed_noise import describe_data

DIRECTORY = Path("sweeps")

POLL_S = 2  # between two queries of the queue


def dvc(*arguments: str) -> str:
    """Run a DVC command and return its output.

    Raises
    ------
    UserError
        If it fails.
    """
    # A file, not a pipe: the workers that `dvc queue start` starts would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "dvc", *arguments]
        if subprocess.run(command, stdout=output, check=False).returncode:
            raise UserError(f"`dvc {' '.join(arguments)}` failed, see above")
        output.seek(0)
        return output.read()


def wait(experiments: list[str]) -> None:
    """Wait until none of the experiments is queued or running, with a progress bar."""
    with tqdm(total=len(experiments), unit="run") as bar:
        while bar.n < len(experiments):
            time.sleep(POLL_S)
            states = re.findall(r"^\S+ +(\S+) .*(Queued|Running)$", dvc("queue", "status"), re.M)
            bar.n = len(set(experiments) - {name for name, _ in states})
            bar.refresh()


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
            lock = yaml.safe_load(DVCFileSystem(rev=experiment).read_text("dvc.lock"))
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
