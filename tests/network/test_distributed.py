"""Several processes, started by the real torchrun: the numbers of one, written by one of them."""

import os
import re
import shlex
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.networks import network, parameters
from helpers.project import AFTER_TABLES, TRAIN, Project, train_outputs
from torch import Tensor
from torch.distributed import HashStore, TCPStore  # type: ignore[attr-defined]

from autoencoder.base.errors import UserError
from autoencoder.network import distributed
from autoencoder.network.distributed import (
    SINGLE,
    AutogradStep,
    World,
    _joining,
    _restart_safe_store,
    process_group,
)
from autoencoder.network.model import Autoencoder
from autoencoder.network.step import AdamW
from autoencoder.network.threads import available_cores
from autoencoder.network.trainer import Trainer, build_network, split_validation

# Sums of float32 in another order differ by some 1e-7; each of the few hundred updates adds to it.
# Where the learning rate is too high, tanh with 0.007 for one, training itself makes more of it.
ROUNDING = 2e-5


def torchrun(processes: int, *options: str) -> list[str]:
    launcher = ["torchrun", "--standalone", "--local-addr=127.0.0.1"]
    return [*launcher, f"--nproc-per-node={processes}", *options, *TRAIN]


def losses(project: Project) -> pd.DataFrame:
    return pd.read_csv(project.root / "loss.csv", index_col="epoch")


def check_curve(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(found) == len(expected)
    for column in ("train", "validation"):
        assert found[column].to_list() == pytest.approx(expected[column].to_list(), rel=ROUNDING)


@pytest.mark.parametrize("rows", [3, 20, 64])
def test_the_shares_of_a_batch_are_the_batch(rows: int) -> None:
    batch = torch.arange(rows)
    shares = [World(rank, 3).local_shard(batch) for rank in range(3)]
    assert torch.equal(torch.cat(shares), batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_shares_of_a_step_add_up_to_it(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network: network)

    def take_step(world: World) -> tuple[Tensor, Tensor]:
        model = network(images)
        step = AutogradStep(model, AdamW(model, 0.02), images, 20, 0.5, world)
        step.generator.manual_seed(5)
        return step(torch.arange(20), 1e-3), step.optimizer.gradient

    losses, gradients = zip(*(take_step(World(rank, 3)) for rank in range(3)), strict=True)
    loss, gradient = take_step(SINGLE)
    assert sum(losses) == pytest.approx(loss.item(), rel=1e-5)
    # As DistributedDataParallel averages them.
    mean = torch.stack(gradients).mean(0)
    assert torch.allclose(mean, gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item())


def test_a_batch_smaller_than_the_processes_is_an_error(images: Tensor) -> None:
    parts = split_validation(images, 0.1, seed=0)
    params = parameters(batch_size=2)
    with pytest.raises(UserError, match="batch_size is 2, expected at least one row for each"):
        Trainer(build_network(parts[0], params), *parts, params, World(0, 3))


def test_restarted_processes_read_nothing_of_killed_ones() -> None:
    store = HashStore()
    with ThreadPoolExecutor(3) as pool:

        def start_all() -> list[Any]:
            places = [World(rank, 3) for rank in range(3)]
            return [*pool.map(_restart_safe_store, repeat(store), places)]

        gone, restarted = start_all(), start_all()
    gone[0].set("address", "old")
    assert all(part.check(["address"]) for part in gone)
    assert not any(part.check(["address"]) for part in restarted)
    restarted[1].set("address", "new")
    assert [part.get("address") for part in restarted] == 3 * [b"new"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "values"),
    [
        (2, {"noise": 0.5}),
        (2, {"batch_size": 64}),
        (3, {"batch_size": 64}),
        (3, {"noise": 0.5, "activation": "tanh", "learning_rate": 1e-3}),
    ],
)
def test_the_losses_are_those_of_one_process(
    project: Project, count: int, values: dict[str, Any]
) -> None:
    project.set_params(**values)
    project.run("python", *TRAIN)
    alone = losses(project)
    assert Autoencoder.load(project.root / "m.safetensors").lineage["processes"] == 1
    output = project.run(*torchrun(count))
    check_curve(losses(project), alone)
    assert re.findall(r"^epoch +(\d+) of", output, re.MULTILINE) == [str(n) for n in range(1, 9)]
    assert output.count("weights of epoch") == 1
    assert output.count("oversubscribe") == (count > available_cores())
    assert Autoencoder.load(project.root / "m.safetensors").lineage["processes"] == count


@pytest.mark.slow
def test_an_error_is_said_once(project: Project) -> None:
    project.set_params(batch_size=1)
    output = project.run(*torchrun(2), status=1)
    (line,) = re.findall("^error: .*", output, re.MULTILINE)
    assert line.endswith(
        "expected at least one row for each of the 2 processes that the launcher starts"
    )
    assert not (project.root / "m.safetensors").exists()


@pytest.mark.slow
def test_divergence_is_seen_by_all(project: Project) -> None:
    project.set_params(learning_rate=1e30, activation="relu")
    output = project.run(*torchrun(2), status=1)
    assert output.count("error: training diverged: the loss is ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_brings_the_run_back_from_its_checkpoint(
    project: Project, victim: int
) -> None:
    project.set_params(epochs=20)
    project.run(*torchrun(2))
    undisturbed = train_outputs(project)
    (project.root / "m.safetensors").unlink()

    lines = []
    with project.start(*torchrun(2, "--max-restarts=1")) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("epoch  3 ") and "epoch  3 " not in "".join(lines[:-1]):
                children = ["pgrep", "-P", str(process.pid), "-f", "stages.train"]
                workers = subprocess.check_output(children, text=True).split()
                assert len(workers) == 2
                os.kill(int(workers[victim]), signal.SIGKILL)
    output = "".join(lines)
    assert process.returncode == 0, output
    (after,) = re.findall(r"resuming after epoch (\d+)", output)
    assert 3 <= int(after) < 20
    assert train_outputs(project) == undisturbed  # two numbers have the same sum in either order
    assert list((project.root / "checkpoints").glob("*.safetensors")) == []


MEETING = {
    "c10d": ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"],
    "fixed": ["--node-rank={number}", "--master-addr=127.0.0.1", "--master-port={port}"],
}


def two_machines(project: Project, other: Project, how: str) -> list[str]:
    """What two agents of torchrun print, which meet on a free port, each in its own directory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agent = ["torchrun", "--nnodes=2", "--nproc-per-node=1", "--local-addr=127.0.0.1"]
    processes = [
        side.start(
            *agent, *(text.format(number=number, port=port) for text in MEETING[how]), *TRAIN
        )
        for number, side in enumerate((project, other))
    ]
    return [process.communicate(timeout=300)[0] for process in processes]


@pytest.mark.slow
@pytest.mark.parametrize("how", MEETING)
def test_two_machines_train_together(project: Project, tmp_path: Path, how: str) -> None:
    project.run("python", *TRAIN)
    alone = losses(project)
    project.run("git", "clean", "--quiet", "--force", "-d")
    other = project.copy(tmp_path / "other")
    said = two_machines(project, other, how)
    wrote = [(side.root / "m.safetensors").exists() for side in (project, other)]
    assert sorted(wrote) == [False, True], said
    assert how == "c10d" or wrote[0]
    writer, reader = (project, other) if wrote[0] else (other, project)
    check_curve(losses(writer), alone)
    assert Autoencoder.load(writer.root / "m.safetensors").lineage["processes"] == 2
    assert reader.run("git", "status", "--porcelain") == ""
    assert said[wrote.index(False)].count("epoch") == 0


@pytest.mark.slow
def test_machines_that_differ_are_refused(project: Project, tmp_path: Path) -> None:
    other = project.copy(tmp_path / "other")
    other.set_params(seed=1)
    for output in two_machines(project, other, "c10d"):
        assert output.count("error: the processes differ in parameters, table, code, packages") == 1
        assert "epoch" not in output
    assert not (project.root / "m.safetensors").exists()


@pytest.mark.slow
def test_dvc_starts_train_with_the_launcher(project: Project) -> None:
    alone = pd.read_csv(project.root / "plots/loss.csv", index_col="epoch")
    launcher = "launcher='torchrun --standalone --local-addr=127.0.0.1 --nproc-per-node=2 -m'"
    output = project.run("dvc", "exp", "run", "-S", launcher)
    assert project.stages_run(output) == AFTER_TABLES
    check_curve(pd.read_csv(project.root / "plots/loss.csv", index_col="epoch"), alone)
    assert (
        Autoencoder.load(project.root / "models/autoencoder.safetensors").lineage["processes"] == 2
    )
    assert project.stages_run(project.run("dvc", "repro")) == []


@pytest.mark.slow
def test_a_machine_whose_name_does_not_resolve_trains(project: Project) -> None:
    unshare = ["unshare", "--uts"]
    if os.geteuid() or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("another host name for one process requires root, on Linux")
    command = shlex.join(torchrun(2))
    project.run(*unshare, "sh", "-c", f"hostname nowhere.invalid && timeout 100 {command}")
    assert Autoencoder.load(project.root / "m.safetensors").lineage["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1", "nowhere.invalid"])
def test_a_process_that_waits_for_others_says_so(project: Project, address: str) -> None:
    """The others never come, or the address of torchrun does not resolve."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    project.environment |= {
        **{"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
        **{"MASTER_ADDR": address, "MASTER_PORT": str(store.port)},
        **{"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    }
    with project.start("timeout", "60", "python", *TRAIN) as process:
        assert process.stdout is not None
        expected = f"waiting for the 2 processes of this run, through torchrun at {address}:"
        assert any(line.startswith(expected) for line in process.stdout)
        process.terminate()


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other launchers set WORLD_SIZE, too."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with process_group() as world:
        assert world == SINGLE


@pytest.mark.parametrize(
    ("local_rank", "gpu", "backends"), [(0, False, "gloo"), (1, True, "cpu:gloo,cuda:nccl")]
)
def test_a_process_joins_and_leaves_the_group_of_torchrun(
    monkeypatch: pytest.MonkeyPatch, local_rank: int, gpu: bool, backends: str
) -> None:
    """Its error is reported by the first process of the machine."""
    variables = {
        "TORCHELASTIC_RUN_ID": "test",
        **{"RANK": str(2 + local_rank), "WORLD_SIZE": "4"},
        **{"LOCAL_RANK": str(local_rank), "LOCAL_WORLD_SIZE": "2"},
        **{"MASTER_ADDR": "host", "MASTER_PORT": "1"},
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    calls: list[object] = []
    group = torch.distributed
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(distributed, "rendezvous", lambda _: iter([(None, 7, 8)]))
    monkeypatch.setattr(distributed, "_restart_safe_store", lambda store, world: world)
    monkeypatch.setattr(
        group, "init_process_group", lambda *args, **values: calls.append((args, values))
    )
    monkeypatch.setattr(group, "is_initialized", lambda: True)
    monkeypatch.setattr(group, "destroy_process_group", lambda: calls.append("left"))
    world = World(2 + local_rank, 4, local_rank, 2)

    def fail() -> None:
        with process_group() as joined:
            assert joined == world
            assert calls == [((backends,), {"store": world, "rank": 7, "world_size": 8})]
            raise UserError("why")

    with pytest.raises(SystemExit if local_rank else UserError):
        fail()
    assert calls[1:] == ["left"]


def test_a_machine_says_once_that_it_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(distributed, "REPORT_S", 0)
    expected = ["waiting for the 2 processes of this run, through torchrun at host:1"]
    for local_rank in (0, 1):
        with _joining(World(local_rank, 2, local_rank, 2), "host:1"):
            for thread in threading.enumerate():
                if isinstance(thread, threading.Timer):
                    thread.join()
        assert caplog.messages == expected


def test_a_group_that_cannot_be_joined_is_an_error() -> None:
    expected = "could not join the 2 processes of this run, through torchrun at host:1: why; that"
    with pytest.raises(UserError, match=expected), _joining(World(1, 2, 1, 2), "host:1"):
        raise torch.distributed.DistNetworkError("why\nfrom where")
