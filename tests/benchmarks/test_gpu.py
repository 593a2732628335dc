"""The benchmark of GPUs, as far as it runs without one."""

import pytest
import torch
from helpers.project import Project


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there is an NVIDIA GPU")
def test_a_machine_without_a_gpu_is_reported_in_one_line(ran: Project) -> None:
    output = ran.run_module("benchmarks.gpu", status=1)
    assert output == "error: there is no NVIDIA GPU, which this benchmark measures\n"
