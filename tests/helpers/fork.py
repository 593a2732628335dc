"""`python -m`, without the seconds that importing PyTorch, pandas and DVC takes.

A fork of pytest's process has these libraries in memory already. It drops the modules of this
project, which it imports again from the given directory, and sends all output into a pipe. It ends
in `os._exit`, so nothing of pytest runs twice.
"""

import importlib
import logging
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import dvc.logger

PACKAGES = ("autoencoder", "benchmarks", "stages", "tools")
TIMEOUT_S = 300

# What DVC and Matplotlib import only when they use it.
LIBRARIES = (
    "configobj",
    "dulwich.ignore",
    "dulwich.worktree",
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.repo.artifacts",
    "dvc.repo.datasets",
    "dvc.repo.experiments.run",
    "dvc.repo.index",
    "dvc.repo.open_repo",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.render.convert",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "fsspec.implementations.memory",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_svg",
    "networkx",
    "pandas.plotting._matplotlib",
    "pygit2",
    "rich.console",
    "scmrepo.fs",
    "scmrepo.git.backend.pygit2.filter",
    "tomlkit",
)


def run_in_fork(
    module: str, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run ``python -m module`` in a directory; return its exit status and its output."""
    for library in LIBRARIES:
        importlib.import_module(library)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _become(module, arguments, directory, environment, writer)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
        output = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output


def _become(
    module: str,
    arguments: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    writer: int,
) -> NoReturn:
    """Run the module instead of pytest and exit."""
    status: object = 1
    try:
        _redirect(writer)
        signal.alarm(TIMEOUT_S)
        for logger in ("", "dvc", "dvc_data", "dvc_objects"):
            logging.getLogger(logger).handlers.clear()
        dvc.logger.setup()  # which keeps the streams that it finds
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        for name in list(sys.modules):
            if name.partition(".")[0] in PACKAGES:
                del sys.modules[name]
        checkout = Path(__file__).parents[2]
        sys.path[:] = [str(directory), *(path for path in sys.path if path != str(checkout))]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as error:
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _redirect(writer: int) -> None:
    """Read from /dev/null and write to the pipe, whether through Python or not."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(writer)
    sys.stdin = os.fdopen(0, "r")
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
