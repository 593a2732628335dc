"""The form for training: the same function as the plain network, and its first gradients."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from helpers.networks import network, parameters
from torch import Tensor, nn

from autoencoder.base.params import Activation
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, to_unit_range
from autoencoder.network.trainer import build_network
from autoencoder.network.training_network import CentredLinear


def test_a_centred_layer_is_a_linear_layer_with_another_bias() -> None:
    torch.manual_seed(0)
    layer = CentredLinear(20, 10)
    x = torch.rand(5, 20)
    bias = layer.bias - layer.weight.sum(1) / 2
    assert torch.allclose(layer(x), F.linear(x, layer.weight, bias), atol=1e-6)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("hidden_sizes", [(64, 32), (40,), (30, 20, 10)])
def test_the_plain_network_computes_the_same(
    images: Tensor, activation: Activation, hidden_sizes: tuple[int, ...]
) -> None:
    params = parameters(activation=activation, hidden_sizes=hidden_sizes)
    training = build_network(images, params)
    plain = training.plain()
    assert type(plain) is Autoencoder
    assert not plain.training
    assert {type(module) for module in plain.modules()}.isdisjoint({CentredLinear})
    x = to_unit_range(images)
    assert torch.allclose(plain(x), training(x), atol=1e-4)


def test_layers_fed_by_sigmoids_are_centred(images: Tensor) -> None:
    for activation, centred in (("sigmoid", 5), ("relu", 1)):
        params = parameters(activation=activation)
        layers = [*build_network(images, params).modules()]
        assert sum(isinstance(layer, CentredLinear) for layer in layers) == centred


@pytest.mark.parametrize(
    ("activation", "gains"),
    [("sigmoid", 6 * [4]), ("relu", [2**0.5, 2**0.5, 4, 4, 2**0.5, 2**0.5])],
)
def test_weights_are_xavier_uniform_with_a_gain_for_each_layer(
    images: Tensor, activation: Activation, gains: list[float]
) -> None:
    model = network(images, activation=activation, hidden_sizes=(512, 256))
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    for layer, gain in zip(layers, gains, strict=True):
        bound = gain * (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not any(layer.bias.any() for layer in layers[1:-1])


def test_biases_are_those_of_the_mean_image(images: Tensor) -> None:
    """The first layer maps it to 0, and it is the reconstruction of the last layer's bias."""
    model = network(images)
    mean = to_unit_range(images).mean(0)
    assert model.encoder[0](mean).abs().max() < 1e-4
    bias = model.state_dict()["decoder.4.bias"]
    assert torch.allclose(torch.sigmoid(bias), mean.clamp(1e-3, 1 - 1e-3), atol=1e-6)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_gradients_reach_the_first_layer(images: Tensor, activation: Activation) -> None:
    model = network(images, activation=activation)
    x = to_unit_range(images[:64])
    F.binary_cross_entropy_with_logits(model(x), x).backward()
    norms = [
        layer.weight.grad.norm().item()
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and layer.weight.grad is not None
    ]
    assert len(norms) == 6
    assert 0.1 < norms[0] / norms[-1] < 10


def test_the_first_reconstruction_is_near_the_mean_image(images: Tensor) -> None:
    x = to_unit_range(images)
    mean = x.mean(0).clamp(1e-3, 1 - 1e-3)
    of_mean = F.binary_cross_entropy(mean.expand_as(x), x)
    of_half = F.binary_cross_entropy(torch.full_like(x, 0.5), x)
    first = per_image_losses(network(images), images)[0].mean()
    assert abs(first - of_mean) < 0.3 * (of_half - of_mean)


def test_biases_of_the_plain_network_are_rounded_once(images: Tensor) -> None:
    training = network(images)
    plain = training.plain().state_dict()["decoder.2.bias"]
    weight, bias = (tensor.detach().numpy() for tensor in training.decoder[2].parameters())
    expected = [b - math.fsum(row) / 2 for row, b in zip(weight.tolist(), bias, strict=True)]
    assert np.array_equal(plain.numpy(), np.array(expected, np.float32))
