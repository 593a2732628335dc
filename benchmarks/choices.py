"""What the initialisation is worth: the plain recipe with and without ours: `make choices`.

All else is PyTorch's: AdamW as it comes, the mean loss. What the schedule adds, the pipeline's own
score tells; what activation and z_size add, the sweeps.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import trange

from autoencoder import params
from autoencoder.data import table
from autoencoder.files import atomic_write
from autoencoder.network.model import build_model, to_unit_range
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.trainer import split_validation
from benchmarks.training import plain_network

REPORT = Path(__file__).with_suffix(".csv")


def train(model: nn.Module, criterion: nn.Module, training: Tensor, knobs: params.Params) -> None:
    """Train a model for the epochs of params.yaml, with the defaults of AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for epoch in trange(knobs.epochs, unit="epoch"):
        order = np.random.default_rng((knobs.seed, epoch + 1)).permutation(len(training))
        for rows in torch.from_numpy(order).split(knobs.batch_size):
            x = to_unit_range(training[rows])
            optimizer.zero_grad()
            criterion(model(x), x).backward()
            optimizer.step()


def main() -> None:
    """Train both, and write their test BCE."""
    knobs = params.read_params(params.Params.model_fields)
    configure_numerics(knobs.threads)
    torch.manual_seed(knobs.seed)
    _, images = table.read(Path("data/train.csv"))
    training, _ = split_validation(torch.from_numpy(images), knobs.validation_fraction, knobs.seed)
    test = to_unit_range(torch.from_numpy(table.read(Path("data/test.csv"))[1]))
    rows = []
    for name, model, criterion in (
        ("plain recipe", plain_network(knobs.z_size), nn.BCELoss()),
        (
            "with our initialisation",
            build_model(training, knobs.z_size, "sigmoid", knobs.seed),
            nn.BCEWithLogitsLoss(),
        ),
    ):
        train(model, criterion, training, knobs)
        with torch.no_grad():
            rows.append({"choice": name, "bce": round(criterion(model(test), test).item(), 6)})
        print(rows[-1])
    with atomic_write(REPORT) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)


if __name__ == "__main__":
    main()
