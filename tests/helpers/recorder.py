"""PyTorch's operations, recorded while they run."""

from collections.abc import Callable
from typing import Any

from torch import Size, Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    """Keeps each operation with its very arguments, as a CUDA graph keeps each kernel.

    So a number that Python gave an operation is that number in every repetition, and a tensor is
    the memory that it had.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, object]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **kwargs or {})
        self.operations.append((func, args, kwargs or {}, result))
        return result

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do without torch.compile, whose import takes a second."""
        return False

    def replay(self) -> None:
        for func, args, kwargs, recorded in self.operations:
            result = func(*args, **kwargs)
            if (
                isinstance(result, Tensor)
                and isinstance(recorded, Tensor)
                and result is not recorded
            ):
                recorded.copy_(result)  # new memory then, which later operations know


def products(work: Callable[[], object]) -> list[list[Size]]:
    """The shapes of the matrices in each product that a function computes, perhaps with a bias."""
    recorder = Recorder()
    with recorder:
        work()
    return [
        [argument.shape for argument in arguments]
        for func, arguments, *_ in recorder.operations
        if func._schema.name in ("aten::mm", "aten::addmm")
    ]
