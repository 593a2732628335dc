"""The library behind the pipeline: reading images, training the autoencoder and using it.

`data` turns files into labels and uint8 images; `network` turns images into a trained network and
its scores; `base` has what every stage needs, and `plots` draws. Stages and tools use the library,
never the other way round.

>>> from autoencoder import Autoencoder
>>> model = Autoencoder.load("models/autoencoder.safetensors")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoencoder.network.model import Autoencoder

__all__ = ["Autoencoder"]


def __getattr__(name: str) -> Any:
    """Import the network when it is first used: PyTorch takes more than a second (PEP 562)."""
    if name == "Autoencoder":
        from autoencoder.network.model import Autoencoder

        return Autoencoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
