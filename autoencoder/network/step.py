"""One training step: manual forward and backward pass in preallocated buffers."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from autoencoder.data.table import PIXELS
from autoencoder.network.model import ACTIVATIONS, Autoencoder, add_noise
from autoencoder.network.training_network import CentredLinear, TrainingNetwork

# AdamW's. Squared gradients are averaged over fewer steps than with the usual 0.999, because of the
# high learning rate; eps is below all gradients here.
BETAS = (0.9, 0.99)
EPS = 1e-12

aten: Any = torch.ops.aten

# Backward pass of each activation a = f(y): turns the gradient with respect to a, in place, into
# that with respect to y.
BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
    "sigmoid": lambda g, y, a: aten.sigmoid_backward.grad_input(g, a, grad_input=g),
    "tanh": lambda g, y, a: aten.tanh_backward.grad_input(g, a, grad_input=g),
    "relu": lambda g, y, a: aten.threshold_backward.grad_input(g, a, 0, grad_input=g),
    "gelu": lambda g, y, a: aten.gelu_backward.grad_input(g, y, grad_input=g),
    "silu": lambda g, y, a: aten.silu_backward.grad_input(g, y, grad_input=g),
}


@dataclass
class _Layer:
    """A linear layer, y = W x + b, its activation, a = f(y), and their buffers.

    x is the activation of the previous layer, minus 1/2 for a centred layer. The gradients with
    respect to y and to a share one buffer.
    """

    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    activation: str
    x: Tensor
    y: Tensor
    a: Tensor
    gradient: Tensor


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), for all parameters at once.

    The parameters of the model and their gradients become views of two vectors, `weights` and
    `gradient`.

    PyTorch's fused kernel without ``torch.optim.AdamW``, whose import of ``torch._dynamo`` takes a
    second, and whose bookkeeping takes time in each step. The caller sets `learning_rate`, a tensor
    of shape (), before each step. `state` has PyTorch's names: exp_avg, exp_avg_sq and step.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        parameters = list(model.parameters())
        self.weights = nn.utils.parameters_to_vector(parameters).detach()
        self.gradient = torch.zeros_like(self.weights)
        nn.utils.vector_to_parameters(self.weights, parameters)
        parts = self.gradient.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        self.weight_decay = weight_decay
        device = self.weights.device
        # Double precision, as a Python float; the kernels of other devices require float32.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        self.learning_rate = torch.zeros((), dtype=dtype, device=device)
        self.state = {
            "exp_avg": torch.zeros_like(self.weights),
            "exp_avg_sq": torch.zeros_like(self.weights),
            "step": torch.zeros((), device=device),
        }

    def step(self) -> None:
        """Update the weights from their gradient."""
        adamw(
            [self.weights],
            [self.gradient],
            [self.state["exp_avg"]],
            [self.state["exp_avg_sq"]],
            [],
            [self.state["step"]],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=EPS,
            maximize=False,
        )


def cuda_graph(work: Callable[[], object], generator: torch.Generator) -> Callable[[], object]:
    """Capture the GPU work of a function as a CUDA graph; return a function that replays it.

    `work` must not wait for results, must find its changing inputs in the same memory each time,
    and draws random numbers from `generator` alone. It is called twice: libraries initialise
    themselves in their first call, which cannot be captured.
    """
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        work()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def can_compute(network: Autoencoder) -> bool:
    """Whether `Step` knows all layers of a network; `AutogradStep` trains any."""
    known = (Autoencoder, nn.Sequential, nn.Linear, *ACTIVATIONS.values())
    return all(isinstance(module, known) for module in network.modules())


class Step:
    """A training step: forward, loss, backward, update.

    Computes what ``loss.backward()`` and AdamW compute, up to rounding, without autograd's
    bookkeeping and, but for the loss, without allocating memory: at batch size 64 the network is so
    small that these take a third of the time. On an NVIDIA GPU, the step's fifty small kernels are
    replayed as one CUDA graph.

    The network is trained in place; `optimizer` is the network's, before its first step.
    `images` is uint8, (n, 784), on the network's device. `noise`, 0..1, is added to the input, not
    to the target of the loss; the caller seeds its source, `generator`.
    """

    def __init__(
        self,
        network: TrainingNetwork,
        optimizer: AdamW,
        images: Tensor,
        batch_size: int,
        noise: float = 0.0,
    ) -> None:
        self.optimizer = optimizer
        self.images = images
        self.noise = noise
        self.layers: list[_Layer] = []
        device = images.device

        def buffer(width: int) -> Tensor:
            return torch.empty(batch_size, width, device=device)

        self.generator = torch.Generator(device)
        self.rows = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self.batch = torch.empty(batch_size, PIXELS, dtype=torch.uint8, device=device)
        self.half = torch.tensor(0.5, device=device)
        # Apple's GPUs have no float64.
        self.loss_dtype = torch.float32 if device.type == "mps" else torch.float64
        self.loss: Tensor  # of the last step
        self.target = buffer(PIXELS)
        a = buffer(PIXELS) if noise else self.target  # the input of the network
        for linear in (module for module in network.modules() if isinstance(module, nn.Linear)):
            x = buffer(linear.in_features) if isinstance(linear, CentredLinear) else a
            y, a, gradient = (buffer(linear.out_features) for _ in range(3))
            self.layers.append(
                _Layer(
                    weight=linear.weight.detach(),
                    bias=linear.bias.detach(),
                    weight_gradient=cast(Tensor, linear.weight.grad),
                    bias_gradient=cast(Tensor, linear.bias.grad),
                    activation="sigmoid" if linear is network.encoder[-1] else network.activation,
                    x=x,
                    y=y,
                    a=a,
                    gradient=gradient,
                )
            )
        self._run_step: Callable[[], object] = self._train_step
        if device.type == "cuda":
            self.capture_graph()

    def capture_graph(self) -> None:
        """Replay each step as one CUDA graph from now on."""
        # The learning rate, 0 before the first step, keeps the weights during warm-up and capture.
        self._run_step = cuda_graph(self._train_step, self.generator)
        for tensor in self.optimizer.state.values():
            tensor.zero_()

    def __call__(self, rows: Tensor, learning_rate: float) -> Tensor:
        """Take a step on the BCE, summed over pixels and images.

        `rows`, int64 (batch_size,), are the indices of the batch's images. Returns the BCE before
        the update, mean over pixels and images, shape (); the next step may overwrite it.
        """
        self.rows.copy_(rows)
        self.optimizer.learning_rate.fill_(learning_rate)
        self._run_step()
        return self.loss

    @torch.no_grad()
    def gradient(self) -> Tensor:
        """Compute the gradient of the first batch of images, without updating the weights."""
        self.rows.copy_(torch.arange(len(self.rows)))
        self.generator.manual_seed(0)
        self._compute_gradient()
        return self.optimizer.gradient

    @torch.no_grad()
    def _train_step(self) -> None:
        """Take a step on the images of `rows`, with the optimizer's learning rate."""
        self._compute_gradient()
        self.optimizer.step()

    def _compute_gradient(self) -> None:
        """Compute the loss of the images of `rows`, and its gradient."""
        self._forward()
        self._compute_loss()
        self._backward()

    def _forward(self) -> None:
        """Compute the logits of the reconstructions, in the last layer's y."""
        torch.index_select(self.images, 0, self.rows, out=self.batch)
        torch.div(self.batch, 255, out=self.target)
        if self.noise:
            add_noise(self.target, self.noise, self.generator, out=self.layers[0].x)
        for layer, following in pairwise(self.layers):
            torch.addmm(layer.bias, layer.x, layer.weight.t(), out=layer.y)
            getattr(aten, layer.activation).out(layer.y, out=layer.a)
            if following.x is not layer.a:
                torch.sub(layer.a, self.half, out=following.x)
        last = self.layers[-1]
        torch.addmm(last.bias, last.x, last.weight.t(), out=last.y)

    def _compute_loss(self) -> None:
        """Compute the mean BCE; overwrites the last layer's a."""
        last = self.layers[-1]
        # BCE = softplus(logit) - pixel * logit, with the pixel in 0..1.
        bce = aten.softplus.out(last.y, out=last.a).addcmul_(self.target, last.y, value=-1)
        # Row by row, because the order of a sum over all pixels depends on the number of threads.
        self.loss = bce.mean(1).mean(dtype=self.loss_dtype)

    def _backward(self) -> None:
        """Compute the gradients of the summed BCE with respect to all weights and biases."""
        last = self.layers[-1]
        # The derivative of cross-entropy and sigmoid together with respect to the logits is simple.
        torch.sigmoid(last.y, out=last.gradient).sub_(self.target)
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            torch.mm(layer.gradient.t(), layer.x, out=layer.weight_gradient)
            torch.sum(layer.gradient, 0, out=layer.bias_gradient)
            if index > 0:
                previous = self.layers[index - 1]
                torch.mm(layer.gradient, layer.weight, out=previous.gradient)
                BACKWARD[previous.activation](previous.gradient, previous.y, previous.a)
