"""What the tools that apply a trained network to images have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from autoencoder.base.cli import Reads
from autoencoder.data.table import Chunk
from autoencoder.data.user.fit import Fit
from autoencoder.data.user.images import READ_OPTIONS, Invert, iter_images
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics


@dataclass(frozen=True)
class ModelAndImages:
    """The options of such a tool, and how it starts."""

    model: Annotated[Path, Reads("trained network, safetensors")]
    images: Annotated[Path, Reads("what `dataset:` takes, or a picture: see docs/data.md")]
    invert: Annotated[Invert, READ_OPTIONS["invert"]]
    fit: Annotated[Fit, READ_OPTIONS["fit"]]

    def load(self) -> tuple[Autoencoder, Iterator[Chunk]]:
        """Load the network; return it and the images, which are read in chunks."""
        configure_numerics()
        model = Autoencoder.load(self.model)
        usual_border = model.lineage.get("mean_border", 0)
        return model, iter_images(self.images, self.invert, self.fit, usual_border)
