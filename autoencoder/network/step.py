"""One training step, written out: what autograd would do, in memory that is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from autoencoder.data.table import PIXELS
from autoencoder.network.model import Autoencoder, CentredLinear, add_noise

# AdamW's. The memory of squared gradients is shorter than the usual 0.999, for a learning rate as
# high as ours; eps is below any gradient here.
BETAS = (0.9, 0.99)
EPS = 1e-12

aten = torch.ops.aten

# Each activation, a = f(y); and in place of the gradient by a, that by y.
FORWARD = {
    "sigmoid": aten.sigmoid.out,
    "tanh": aten.tanh.out,
    "relu": aten.relu.out,
    "gelu": aten.gelu.out,
    "silu": aten.silu.out,
}
BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
    "sigmoid": lambda g, y, a: aten.sigmoid_backward.grad_input(g, a, grad_input=g),
    "tanh": lambda g, y, a: aten.tanh_backward.grad_input(g, a, grad_input=g),
    "relu": lambda g, y, a: aten.threshold_backward.grad_input(g, a, 0, grad_input=g),
    "gelu": lambda g, y, a: aten.gelu_backward.grad_input(g, y, grad_input=g),
    "silu": lambda g, y, a: aten.silu_backward.grad_input(g, y, grad_input=g),
}


@dataclass
class _Layer:
    """A linear layer, y = W x + b, the activation behind it, a = f(y), and where each is kept.

    x is the activation of the layer before, less 1/2 for a centred layer. The gradients of the loss
    by y and by a take turns in one buffer.
    """

    weight: Tensor
    weight_t: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    activation: str
    x: Tensor
    y: Tensor
    a: Tensor
    gradient: Tensor
    gradient_t: Tensor


def flatten(model: nn.Module) -> nn.Parameter:
    """Put all parameters of a model, and their gradients, into one piece of memory.

    `AdamW`, given this one parameter, updates all of them in one sweep.

    Returns
    -------
    Parameter
        Float tensor of shape (parameters,), with a gradient of zeros. The model's parameters and
        their gradients are views of it from now on.
    """
    parameters = list(model.parameters())
    flat = nn.Parameter(nn.utils.parameters_to_vector(parameters).detach())
    flat.grad = torch.zeros_like(flat)
    nn.utils.vector_to_parameters(flat.detach(), parameters)
    parts = flat.grad.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return flat


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), over one parameter.

    PyTorch's fused kernel without the bookkeeping of ``torch.optim.AdamW``, which takes a fortieth
    of a step.

    Parameters
    ----------
    weights : Parameter
        With its gradient; updated in place.
    weight_decay : float

    Attributes
    ----------
    learning_rate : float tensor of shape ()
        Of the next step, on the device of the weights; to be filled by the caller.
    state : dict of str to Tensor
        What goes from step to step, by PyTorch's names: exp_avg, exp_avg_sq and step.
    """

    def __init__(self, weights: nn.Parameter, weight_decay: float) -> None:
        self.weights = weights.detach()
        self.gradient = cast(Tensor, weights.grad)
        self.weight_decay = weight_decay
        # A double, as a Python float is; the kernels of other devices take only a float32.
        exact = torch.float64 if weights.device.type == "cpu" else torch.float32
        self.learning_rate = torch.zeros((), dtype=exact, device=weights.device)
        self.state = {
            "exp_avg": torch.zeros_like(self.weights),
            "exp_avg_sq": torch.zeros_like(self.weights),
            "step": torch.zeros((), device=weights.device),
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
    """Record the work that a function gives the GPU, to be launched as one from then on.

    Parameters
    ----------
    work : callable
        Waits for no result, and finds all that changes from call to call in the same memory. It is
        called twice: libraries set themselves up in their first call, which cannot be recorded.
    generator : Generator
        What it draws random numbers from, on the GPU.

    Returns
    -------
    callable
        Has the GPU do the same again, on what the memory holds then.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class Step:
    """A training step of an autoencoder: forward, loss, backward, update.

    Gives the numbers of ``loss.backward()`` and AdamW, to rounding, without the
    bookkeeping of autograd and without new memory: at batch 64 the network is so small that these
    take a third of the time. On an NVIDIA GPU, its fifty small kernels are launched as one, by
    `cuda_graph`.

    Parameters
    ----------
    model : Autoencoder
        To be trained, in place, after `flatten`.
    optimizer : AdamW
        Of what `flatten` returned, before its first step.
    images : uint8 tensor of shape (n, 784)
        What there is to learn, on the model's device.
    batch_size : int
        Images a step.
    noise : float
        Added to the input, not to the target of the loss, by `noisy`.

    Attributes
    ----------
    generator : Generator
        Source of the noise, on the model's device; to be seeded by the caller.
    launch : callable
        `learn`, or what does the same.
    """

    def __init__(
        self,
        model: Autoencoder,
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
        self.loss: Tensor  # of the last step
        self.target = buffer(PIXELS)
        a = buffer(PIXELS) if noise else self.target  # the input of the network
        for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
            x = buffer(linear.in_features) if isinstance(linear, CentredLinear) else a
            y, a, gradient = (buffer(linear.out_features) for _ in range(3))
            self.layers.append(
                _Layer(
                    weight=linear.weight.detach(),
                    weight_t=linear.weight.detach().t(),
                    bias=linear.bias.detach(),
                    weight_gradient=cast(Tensor, linear.weight.grad),
                    bias_gradient=cast(Tensor, linear.bias.grad),
                    activation="sigmoid" if linear is model.encoder[-1] else model.activation,
                    x=x,
                    y=y,
                    a=a,
                    gradient=gradient,
                    gradient_t=gradient.t(),
                )
            )
        self.launch: Callable[[], object] = self.learn
        if device.type == "cuda":
            self.record()

    def record(self) -> None:
        """Launch each step as one `cuda_graph` from now on."""
        # At a learning rate of 0 the weights stay as they are, in the calls that recording takes.
        self.optimizer.learning_rate.zero_()
        self.launch = cuda_graph(self.learn, self.generator)
        for tensor in self.optimizer.state.values():
            tensor.zero_()

    def __call__(self, rows: Tensor, learning_rate: float) -> Tensor:
        """Take a step on the BCE, summed over pixels and images.

        Parameters
        ----------
        rows : int64 tensor of shape (batch_size,)
            Which of the images to learn.
        learning_rate : float

        Returns
        -------
        float tensor of shape ()
            The BCE before the update, mean over pixels and images. The next step may overwrite
            it.
        """
        self.rows.copy_(rows)
        self.optimizer.learning_rate.fill_(learning_rate)
        self.launch()
        return self.loss

    @torch.no_grad()
    def learn(self) -> None:
        """Take a step on the images that `rows` names, at the optimizer's learning rate."""
        first, last = self.layers[0], self.layers[-1]
        torch.index_select(self.images, 0, self.rows, out=self.batch)
        torch.div(self.batch, 255, out=self.target)
        if self.noise:
            add_noise(self.target, self.noise, self.generator, out=first.x)
        for layer, following in pairwise(self.layers):
            torch.addmm(layer.bias, layer.x, layer.weight_t, out=layer.y)
            FORWARD[layer.activation](layer.y, out=layer.a)
            if following.x is not layer.a:
                torch.sub(layer.a, self.half, out=following.x)
        torch.addmm(last.bias, last.x, last.weight_t, out=last.y)
        # BCE = softplus(logit) - pixel * logit, a pixel each, in buffers that are free here; and
        # softplus(y) = max(y, 0) - log(sigmoid(|y|)), as PyTorch's own takes 0.1 ms longer.
        torch.abs(last.y, out=last.a).sigmoid_().log_()
        bce = torch.clamp(last.y, min=0, out=last.gradient).sub_(last.a)
        self.loss = bce.addcmul_(self.target, last.y, value=-1).mean()

        # The sigmoid and the cross-entropy together have a simple derivative by the logits.
        torch.sigmoid(last.y, out=last.gradient).sub_(self.target)
        backwards = self.layers[::-1]
        for layer, before in zip(backwards, [*backwards[1:], None], strict=True):
            torch.mm(layer.gradient_t, layer.x, out=layer.weight_gradient)
            torch.sum(layer.gradient, 0, out=layer.bias_gradient)
            if before:
                torch.mm(layer.gradient, layer.weight, out=before.gradient)
                BACKWARD[before.activation](before.gradient, before.y, before.a)
        self.optimizer.step()
