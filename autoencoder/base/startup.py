"""What every program does first, before NumPy or PyTorch are imported.

Stages and tools import this module in their package, so that it runs before their own imports.
"""

import gc
import os
import sys
from types import TracebackType

# Settings of the libraries that multiply matrices: they choose other kernels, which round
# differently. Bounds on the number of threads stay, because the results do not depend on it.
_PREFIXES = ("ATEN_CPU_", "DNNL_", "MKL_", "ONEDNN_", "OPENBLAS_")


def fix_environment() -> None:
    """Remove environment variables that change rounding, and keep oneDNN in full float32."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) and not name.endswith("_NUM_THREADS"):
            del os.environ[name]
    # Without AMX and bfloat16 instructions oneDNN computes in float32, see network/numerics.py.
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE"


def _report_interrupt(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Report Ctrl-C during imports in one line, as `cli.run` does later."""
    if issubclass(kind, KeyboardInterrupt):
        print("error: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def end_imports() -> None:
    """Collect garbage from now on, but not among what was imported, which stays until the end.

    With PyTorch, the collector would take a second of the imports and of the end of the program.
    """
    gc.freeze()
    gc.enable()


gc.disable()  # until `end_imports`
fix_environment()
sys.excepthook = _report_interrupt
