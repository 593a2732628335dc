"""What a program does first, before NumPy or PyTorch are imported.

The packages of programs call `begin` if Python runs one of their modules, as `python -m
stages.train` does. Importing them, or the library, changes nothing.
"""

import gc
import os
import sys
from types import TracebackType

# Variables of BLAS libraries, oneDNN, OpenMP, NumPy, PyTorch and CUDA that choose other kernels,
# another precision or another number of threads than the one that was asked for. With some of them
# products are wrong: with OMP_DYNAMIC or OMP_THREAD_LIMIT, OpenMP starts fewer threads than oneDNN
# has divided the work among, and the rest of the result is what was in the memory before. And a
# notebook's MPLBACKEND, without whose package matplotlib cannot be imported; no figure needs it.
_PREFIXES = (
    "ATEN_",
    "CUBLAS",
    "CUDNN_",
    "DISABLE_ADDMM_CUDA_LT",
    "DNNL_",
    "KMP_",
    "MKL_",
    "MPLBACKEND",
    "NPY_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PYTORCH_TUNABLEOP_",
    "TORCH_ALLOW_TF32",
    "TORCH_BLAS_",
    "TORCH_LINALG_",
    "TORCH_MKLDNN_",
)
# Those of OpenMP that only say where threads run and how they wait, and one that programs need.
_KEPT = {"KMP_DUPLICATE_LIB_OK", "OMP_PLACES", "OMP_PROC_BIND", "OMP_STACKSIZE", "OMP_WAIT_POLICY"}
# Where else the system looks for libraries, which may be others than those that packages bring.
_LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH")


def runs_as_program() -> bool:
    """Tell whether Python is importing the package of the module that `python -m` runs."""
    return sys.argv[:1] == ["-m"]  # until it has found that module (sys.argv in Python's manual)


def begin() -> None:
    """Fix the environment, postpone garbage collection, and report failed imports in one line."""
    gc.disable()  # until `end_imports`
    fix_environment()
    sys.excepthook = _report_import_error


def fix_environment() -> None:
    """Remove variables that change results or break imports; keep oneDNN in full float32.

    The number of threads is bounded by OMP_NUM_THREADS and OMP_THREAD_LIMIT as before, through the
    former; see `network.threads`.
    """
    bounds = [
        number
        for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT")
        # The list "4,2" is for nested parallelism.
        if (number := os.environ.get(name, "").partition(",")[0].strip()).isdecimal()
    ]
    for name in list(os.environ):
        if name.startswith(_PREFIXES) and name not in _KEPT:
            del os.environ[name]
    if positive := [int(number) for number in bounds if int(number) > 0]:
        os.environ["OMP_NUM_THREADS"] = str(min(positive))
    os.environ["OMP_DYNAMIC"] = "false"
    # NumPy computes only where speed does not matter, and so the same with any number of cores.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Without AMX and bfloat16 instructions oneDNN computes in float32, see network/numerics.py.
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE"


def _report_import_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Report Ctrl-C and libraries that do not load in one line, as `cli.run` does later."""
    if issubclass(kind, KeyboardInterrupt):
        print("error: interrupted", file=sys.stderr)
        return
    # RuntimeError: of NumPy on an old processor, of a torchvision that is not for this torch.
    if "--debug" in sys.argv or not issubclass(kind, (ImportError, OSError, RuntimeError)):
        sys.__excepthook__(kind, error, traceback)
        return
    while isinstance(error.__cause__, ImportError):  # pandas says only which package failed
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].removeprefix("Original error was: ") if lines else kind.__name__
    hints = [f"unset {name}, which is {os.environ[name]}" for name in _LOADER if name in os.environ]
    hint = ", or ".join([*hints, "install the packages again with `make setup`"])
    print(f"error: {reason}; {hint}; --debug shows where", file=sys.stderr)


def end_imports() -> None:
    """Collect garbage from now on, but not among what was imported, which stays until the end.

    With PyTorch, the collector would take a second of the imports and of the end of the program.
    """
    gc.freeze()
    gc.enable()
    sys.excepthook = sys.__excepthook__
