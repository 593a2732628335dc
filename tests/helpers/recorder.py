"""PyTorch's operations, recorded while they run."""

from typing import Any

from torch import Tensor
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

    def replay(self) -> None:
        for func, args, kwargs, recorded in self.operations:
            result = func(*args, **kwargs)
            if (
                isinstance(result, Tensor)
                and isinstance(recorded, Tensor)
                and result is not recorded
            ):
                recorded.copy_(result)  # new memory then, which later operations know
