"""Measure what the initialisation contributes to the baseline: `make choices`.

Everything else is PyTorch's default: AdamW and the mean loss. The score of the pipeline shows what
the schedule adds; the sweeps show what activation and z_size add.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import trange

from autoencoder.base.cli import make_parser, run
from autoencoder.base.files import atomic_write
from autoencoder.base.params import Params, read_params
from autoencoder.data import table
from autoencoder.network.model import to_unit_range
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.trainer import build_network, split_validation
from benchmarks.recipe import plain_network

REPORT = Path(__file__).with_suffix(".csv")


def train(model: nn.Module, criterion: nn.Module, training: Tensor, params: Params) -> None:
    """Train a model for the epochs in params.yaml, with AdamW's defaults."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for epoch in trange(params.epochs, unit="epoch"):
        order = np.random.default_rng((params.seed, epoch + 1)).permutation(len(training))
        for rows in torch.from_numpy(order).split(params.batch_size):
            x = to_unit_range(training[rows])
            optimizer.zero_grad()
            criterion(model(x), x).backward()
            optimizer.step()


def main() -> None:
    """Train both and write their test BCE."""
    make_parser(__doc__).parse_args()
    params = read_params(Params.model_fields)
    configure_numerics()
    torch.manual_seed(params.seed)
    _, images = table.read(Path("data/train.csv"))
    training, _ = split_validation(
        torch.from_numpy(images), params.validation_fraction, params.seed
    )
    test = to_unit_range(torch.from_numpy(table.read(Path("data/test.csv"))[1]))
    rows = []
    for name, model, criterion in (
        ("baseline", plain_network(params.hidden_sizes, params.z_size), nn.BCELoss()),
        (
            "with our initialisation",
            build_network(training, params.model_copy(update={"activation": "sigmoid"})),
            nn.BCEWithLogitsLoss(),
        ),
    ):
        train(model, criterion, training, params)
        with torch.no_grad():
            rows.append({"choice": name, "bce": round(criterion(model(test), test).item(), 6)})
        print(rows[-1])
    with atomic_write(REPORT) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)


if __name__ == "__main__":
    run(main)
