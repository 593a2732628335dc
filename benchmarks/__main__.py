"""Measure speed, scaling and ablations; write each report to benchmarks/NAME.md.

Without a name, all of them. Those that need what is not there, such as a GPU, are left out.
"""

import logging
import os
import platform
import re
from pathlib import Path

import torch

from autoencoder.base.cli import make_parser, run
from autoencoder.base.files import atomic_write
from autoencoder.network.threads import available_threads
from benchmarks import anomaly, epochs, explore, gpu, programs, steps
from benchmarks.measuring import ROOT, Row, UnavailableError

MODULES = [steps, epochs, programs, gpu, anomaly, explore]
HEADER = Row("figure", "median", "median ratio per round (minimum to maximum)", "target")


def machine() -> str:
    """Describe this machine: processor, as Linux knows it, cores, Python and PyTorch."""
    path = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", path.read_text()) if path.exists() else []
    name, *_ = [*names, platform.processor() or platform.machine()]
    return (
        f"{name}, {os.cpu_count()} cores, {available_threads()} available, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}."
    )


def main() -> None:
    """Run one benchmark, or all."""
    modules = {module.__name__.removeprefix("benchmarks."): module for module in MODULES}
    titles = {name: str(module.__doc__).partition("\n")[0] for name, module in modules.items()}
    lines = [f"  {name:9}  {title}" for name, title in titles.items()]
    parser = make_parser(__doc__ or "", "\n".join(["benchmarks:", *lines]))
    parser.add_argument("name", nargs="?", choices=modules, metavar="NAME", help="only this one")
    parser.add_argument("--other", type=Path, default="fashion-mnist.csv", help="table for anomaly")
    options = parser.parse_args()
    for name in [options.name] if options.name else modules:
        arguments = [options.other] if name == "anomaly" else []
        try:
            rows = list(modules[name].measure(*arguments))
        except UnavailableError as error:
            if options.name:
                raise
            logging.getLogger(__name__).info("%s: left out: %s", name, error)
            continue
        table = [HEADER, ["---"] * len(HEADER), *rows]
        lines = [titles[name], "", machine(), "", *(f"| {' | '.join(row)} |" for row in table)]
        print(*lines, sep="\n")
        with atomic_write(ROOT / f"benchmarks/{name}.md") as path:
            path.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    run(main)
