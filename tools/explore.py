"""Write an interactive page that shows what the latent code means: `make explore`.

The trained network runs in the page, which is one file and opens without a network connection.
"""

import logging
import zlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from autoencoder.base.cli import make_parser, refuse_overwriting, run
from autoencoder.data import table
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, to_unit_range
from autoencoder.plots import CODE_COLOURS, code_grid
from tools.templates import write_page

log = logging.getLogger(__name__)

MAX_SLIDERS = 64
SHOWN_SLIDERS = 16  # the others are behind a line to click
MAP_IMAGES = 2000
IMAGES_PER_CLASS = 8
WORST_IMAGES = 16

# Codes in which each number is changed to find out how much it matters.
EFFECT_CODES = 16
# Percentiles of the test codes: the usual low and high value of a number.
LOW, HIGH = 5, 95


def affine_layers(model: Autoencoder) -> list[dict[str, Any]]:
    """Return the linear layers, ``y = W x + b``, encoder first.

    Each has inputs, outputs, and as little-endian bytes weights (float16, one row per output) and
    bias (float32).
    """
    return [
        {
            "inputs": layer.in_features,
            "outputs": layer.out_features,
            "weights": layer.weight.detach().numpy().astype("<f2").tobytes(),
            "bias": layer.bias.detach().numpy().astype("<f4").tobytes(),
        }
        for layer in model.modules()
        if isinstance(layer, torch.nn.Linear)
    ]


@torch.no_grad()
def effects(
    model: Autoencoder,
    codes: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Measure how much each number of the code changes the image.

    In `codes`, (n, z_size), one number at a time is set to its value in `low` and in `high`, both
    (z_size,). Returns the root mean square of the difference between the two images, grey values in
    0..1, over pixels and codes: (z_size,).
    """
    count = len(codes)
    found = np.empty(model.z_size)
    for number, values in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        changed = torch.from_numpy(codes).repeat(2, 1)
        changed[:count, number], changed[count:, number] = values
        at_low, at_high = model.decode(changed).split(count)
        found[number] = (at_high - at_low).square().mean().sqrt()
    return found


def principal_components(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the two directions in which codes, (n, z_size), vary most: (2, z_size).

    Unit vectors, whose largest element is positive; zeros where the codes have fewer dimensions.
    """
    _, _, directions = np.linalg.svd(codes - codes.mean(0), full_matrices=False)
    components = np.zeros((2, codes.shape[1]), np.float32)
    for component, direction in zip(components, directions, strict=False):
        component[:] = direction * np.sign(direction[np.abs(direction).argmax()])
    return components


def choose_rows(
    labels: NDArray[np.str_], bce: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose the test images that the page shows.

    Returns their rows in the table: at most `MAP_IMAGES` for the map, a few of each class among
    them, in the order of the table, then those with the worst reconstructions that are not among
    these; and where in these rows the worst reconstructions are, the worst one first.
    """
    shuffled = pd.Series(labels).sample(frac=1, random_state=0)
    of_class = shuffled.groupby(shuffled).cumcount().clip(upper=IMAGES_PER_CLASS)
    chosen = np.sort(of_class.sort_values(kind="stable").index.to_numpy()[:MAP_IMAGES])
    worst = np.argsort(-bce, kind="stable")[:WORST_IMAGES]
    rows = np.concatenate([chosen, worst[~np.isin(worst, chosen)]])
    return rows, pd.Index(rows).get_indexer(worst)


@torch.no_grad()
def page_facts(
    model: Autoencoder, labels: NDArray[np.str_], images: NDArray[np.uint8], noise: float
) -> dict[str, Any]:
    """Compute what the page shows, the variables of explore.html.

    Labels, (n,), and images, uint8 (n, 784), are those of the test table; noise is what the network
    was trained with, 0..1.
    """
    pixels = torch.from_numpy(images)
    bce = per_image_losses(model, pixels)[0].numpy()
    batches = pixels.split(1000)
    codes = torch.cat([model.encode(to_unit_range(batch)) for batch in batches]).numpy()
    low, high = np.percentile(codes, (LOW, HIGH), axis=0).astype(np.float32)
    sample = np.linspace(0, len(codes) - 1, min(EFFECT_CODES, len(codes))).astype(int)
    effect = effects(model, codes[sample], low, high)
    order = np.argsort(-effect, kind="stable")[:MAX_SLIDERS]

    rows, worst = choose_rows(labels, bce)
    on_map = min(MAP_IMAGES, len(images))
    mean = codes[rows[:on_map]].mean(0)
    components = principal_components(codes[rows[:on_map]])
    points = (codes[rows] - mean) @ components.T
    classes = table.in_order(set(labels.tolist()))
    layers = affine_layers(model)
    colours = mpl.colormaps[CODE_COLOURS](np.arange(256), bytes=True)
    return {
        "z_size": model.z_size,
        "sizes": [layers[0]["inputs"], *(layer["outputs"] for layer in layers)],
        "test_images": len(images),
        "test_bce": float(bce.mean()),
        "sliders": [
            {"number": int(i), "low": round(float(low[i]), 4), "high": round(float(high[i]), 4)}
            for i in order
        ],
        "data": {
            "activation": model.activation,
            "layers": layers,
            "noise": noise,
            "classes": classes,
            "onMap": on_map,
            "worst": worst.tolist(),
            "rows": (rows + 1).tolist(),
            "labels": pd.Categorical(labels[rows], classes).codes.tolist(),
            "bce": np.round(bce[rows], 5).tolist(),
            "points": np.round(points.astype(np.float64), 4).tolist(),
            "mean": mean.astype("<f4").tobytes(),
            "components": components.astype("<f4").tobytes(),
            "codeGrid": code_grid(model.z_size).tolist(),
            "colours": colours[:, :3].tobytes(),
            "shownSliders": SHOWN_SLIDERS,
            "images": zlib.compress(images[rows].tobytes(), level=9),
        },
    }


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write the page of what `page_facts` returns."""
    write_page(path, Path(__file__).with_suffix(".html"), facts)


def main() -> None:
    """Read model and test table, write the page."""
    parser = make_parser(__doc__)
    for name, default, text in (
        ("model", "models/autoencoder.safetensors", "trained network"),
        ("test", "data/test.csv", "test table"),
        ("out", "explore/index.html", "page to write"),
    ):
        parser.add_argument(
            f"--{name}", type=Path, default=Path(default), help=f"{text} (%(default)s)"
        )
    paths = parser.parse_args()
    refuse_overwriting({"model": paths.model, "test": paths.test}, {"out": paths.out})
    model = Autoencoder.load(paths.model)
    labels, images = table.read(paths.test)
    write(paths.out, page_facts(model, labels, images, model.training_noise))
    log.info("%s: open it in a browser", paths.out)


if __name__ == "__main__":
    run(main)
