"""The scores, checked against direct computations."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from helpers.digits import Digits
from helpers.networks import parameters
from numpy.typing import NDArray
from torch import Tensor

from autoencoder.base.errors import UserError
from autoencoder.data import table
from autoencoder.network.metrics import (
    PCA,
    Encoder,
    entropy,
    pca_mse,
    per_image_entropies,
    principal_components,
    probe_accuracies,
    probe_accuracy,
    score,
)
from autoencoder.network.model import Autoencoder, to_unit_range
from autoencoder.network.trainer import Trainer, build_network

Images = NDArray[np.uint8]


@pytest.fixture(scope="session")
def train(train_digits: Digits) -> Images:
    return train_digits[1].reshape(-1, 784)


@pytest.fixture(scope="session")
def test(test_digits: Digits) -> Images:
    return test_digits[1].reshape(-1, 784)


def test_entropy_is_the_bce_of_images_with_themselves(test: Images) -> None:
    x = torch.from_numpy(test).double() / 255
    assert entropy(test) == pytest.approx(F.binary_cross_entropy(x, x).item(), rel=1e-12)
    assert entropy(np.array([[0, 255]], np.uint8)) == 0
    expected = F.binary_cross_entropy(x, x, reduction="none").mean(1)
    assert per_image_entropies(test) == pytest.approx(expected.numpy(), rel=1e-12)


@pytest.mark.parametrize("components", [1, 8, 32])
def test_pca_is_that_of_a_singular_value_decomposition(
    train: Images, test: Images, components: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoencoder.network.metrics._NUMPY_BATCH", 250)
    mean = train.mean(0) / 255
    _, _, axes = np.linalg.svd(train / 255 - mean, full_matrices=False)
    axes = axes[:components]
    centred = test / 255 - mean
    expected = np.square(centred - centred @ axes.T @ axes).mean()
    assert pca_mse(principal_components(train), test, components) == pytest.approx(
        expected, rel=1e-9
    )


def test_pca_with_all_components_loses_nothing(train: Images, test: Images) -> None:
    assert pca_mse(principal_components(train), test, 784) == 0
    assert pca_mse(principal_components(train), test, 1000) == 0


def labelled(images: Images) -> table.Chunk:
    """The images with labels in turn."""
    return table.Chunk((np.arange(len(images)) % 2).astype(str), images)


def test_scores_agree_with_what_training_measured(train: Images, test: Images) -> None:
    training, validation = torch.from_numpy(train), torch.from_numpy(test)
    params = parameters(epochs=8)
    model = build_network(training, params)
    trainer = Trainer(model, training, validation, params)
    while not trainer.finished:
        trainer.run_epoch()
    last = trainer.history[-1]

    metrics, bce = score(model, labelled(train), labelled(test))
    assert metrics["bce"] == last.validation == pytest.approx(bce.mean(), rel=1e-12)
    assert metrics["bce_floor"] < metrics["bce_train"]
    assert metrics["bce_gap"] == metrics["bce"] - metrics["bce_train"]
    assert metrics["bce_excess"] == metrics["bce"] - metrics["bce_floor"]
    assert metrics["mse_pca"] == pca_mse(principal_components(train), test, 8)
    x = to_unit_range(validation)
    with torch.no_grad():
        assert metrics["mse"] == pytest.approx(
            F.mse_loss(model.decode(model.encode(x)), x).item(), rel=1e-5
        )
    of_mean = F.binary_cross_entropy(to_unit_range(training).mean(0).expand_as(x), x)
    assert metrics["bce_mean_image"] == pytest.approx(of_mean.item(), rel=1e-4)


def test_a_model_that_learned_nothing_is_an_error(train: Images, test: Images) -> None:
    with pytest.raises(UserError, match=r"no better than the mean training image"):
        score(Autoencoder((512, 256), 8, "sigmoid").eval(), labelled(train), labelled(test))


def test_images_that_are_all_the_same_are_an_error(train: Images) -> None:
    same = labelled(train[:1].repeat(20, axis=0))
    model = build_network(torch.from_numpy(same.images), parameters()).plain()
    with pytest.raises(UserError, match="all test images are the same as the mean training image"):
        score(model, same, same)


def test_the_probe_needs_two_classes_in_both_tables(
    train: Images, test: Images, caplog: pytest.LogCaptureFixture
) -> None:
    model = build_network(torch.from_numpy(train), parameters())
    pca = principal_components(train)
    one = table.Chunk(np.full(len(train), "unlabelled"), train)
    assert probe_accuracies(model, pca, one, labelled(test)) == {}
    renamed = table.Chunk(np.char.add("digit ", labelled(test).labels), test)
    assert probe_accuracies(model, pca, labelled(train), renamed) == {}
    assert "have no label in common" in caplog.text
    both = probe_accuracies(model, pca, labelled(train), labelled(test))
    assert list(both) == ["probe_accuracy", "probe_accuracy_pca"]


def test_the_probe_of_pca_has_codes_of_the_model_s_size(train: Images, test: Images) -> None:
    model = build_network(torch.from_numpy(train), parameters(z_size=8))
    pca = principal_components(train)

    def encode(images: Tensor) -> Tensor:
        return torch.from_numpy((images.numpy() / 255 - pca.mean) @ pca.components[:, :8])

    expected = probe_accuracy(encode, labelled(train), labelled(test))
    found = probe_accuracies(model, pca, labelled(train), labelled(test))
    assert found["probe_accuracy_pca"] == expected


def test_the_entropy_of_any_greys_is_computed_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert entropy(np.array([[0, 0]], np.uint8)) == 0
        assert entropy(np.array([[127, 128]], np.uint8)) == pytest.approx(np.log(2), rel=1e-4)


def test_the_probe_keeps_no_graph_of_all_codes(
    train: Images, test: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take gigabytes."""

    def check(encode: Encoder, train: table.Chunk, _: table.Chunk) -> float:
        assert not encode(torch.from_numpy(train.images)).requires_grad
        return 0.5

    monkeypatch.setattr("autoencoder.network.metrics.probe_accuracy", check)
    model = build_network(torch.from_numpy(train), parameters())
    pca = PCA(np.zeros(784), np.eye(784))
    assert probe_accuracies(model, pca, labelled(train), labelled(test))["probe_accuracy"] == 0.5
