"""Kills, full disks, read-only directories, two runs at once: nothing breaks, nothing is half."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from helpers.project import ROOT, Project

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
OUTPUTS = {
    stage: [
        entry if isinstance(entry, str) else next(iter(entry))
        for kind in ("outs", "metrics", "plots")
        for entry in definition.get(kind, [])
    ]
    for stage, definition in STAGES.items()
}
SEED = os.environ.get("SEED") or str(time.time_ns())
KILLS = {"repro": 60, "experiment": 20, "tool": 15, "sweep": 5}

# DVC writes these in place. A kill in the few milliseconds that it takes leaves them empty, and the
# next run says so; without them, it restores the outputs from the run cache.
WRITTEN_IN_PLACE = {
    "dvc.lock": "'./dvc.lock' validation failed",
    ".dvc/tmp/rwlock": "Unable to read RWLock-file",
}


def files(project: Project, stages: list[str]) -> dict[str, bytes]:
    """What is there under the names of the outputs of some stages, half-written files left out."""
    found = {}
    for name in (name for stage in stages for name in OUTPUTS[stage]):
        top = project.root / name
        for path in [top, *top.rglob("*")]:
            if path.is_file() and not path.name.endswith(".partial"):
                found[str(path.relative_to(project.root))] = path.read_bytes()
    return found


def before(ran: Project, stage: str, target: Path) -> Project:
    """A copy of the project as it was before a stage ran first: no output, no cache, no lock."""
    project = ran.copy(target)
    later = list(STAGES)[list(STAGES).index(stage) :]
    for directory in (".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project.root / directory)
    for name in (name for stage in later for name in OUTPUTS[stage]):
        path = project.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    lock = project.root / "dvc.lock"
    kept = yaml.safe_load(lock.read_text())
    for name in later:
        del kept["stages"][name]
    lock.write_text(yaml.safe_dump(kept, sort_keys=False))
    return project


def kill(process: subprocess.Popen[str], stage_alone: bool) -> bool:
    """Kill a `dvc repro` with all that it started, or the stage alone; False if it had ended.

    Between two stages there is none to kill, so that it is the run.
    """
    dvc = psutil.Process(process.pid)
    stage = dvc.children(recursive=True)
    for victim in stage if stage_alone and stage else [dvc, *stage]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    output, _ = process.communicate(timeout=100)
    assert "Traceback" not in output
    return process.returncode != 0


def check_visible(project: Project, ran: Project) -> None:
    """No output differs from that of the run never disturbed, but losses of fewer epochs."""
    whole = files(ran, list(STAGES))
    for name, content in files(project, list(STAGES)).items():
        if name == "plots/loss.csv" and content.endswith(b"\n"):
            assert whole[name].startswith(content)
        else:
            assert content == whole[name], name


def check_completes(project: Project, ran: Project, stage: str | None = None) -> None:
    """The next `dvc repro` completes, with the bytes of the run never disturbed."""
    for name, message in WRITTEN_IN_PLACE.items():
        path = project.root / name
        if path.is_file() and not path.read_bytes():
            print(f"{name} is empty", end=" ")
            assert message in project.run("dvc", "repro", status=255)
            path.unlink()
    project.run("dvc", "repro", *filter(None, [stage]))
    done = list(STAGES)[: list(STAGES).index(stage) + 1] if stage else list(STAGES)
    assert files(project, done) == files(ran, done)
    locks = [yaml.safe_load((p.root / "dvc.lock").read_text())["stages"] for p in (project, ran)]
    assert locks[0] == {name: locks[1][name] for name in done}


# A sitecustomize.py, which every Python with its directory on PYTHONPATH loads. A stage pauses
# before it renames a file to an output: there, it can be killed with the file written but hidden.
PAUSE = """
import os, pathlib, sys, time
replace = os.replace
def pause_and_replace(source, target, **options):
    if os.environ["PAUSE_AT"] in str(target) and "stages" in sys.argv[0]:
        pathlib.Path(os.environ["PAUSED"]).touch()
        time.sleep(300)
    replace(source, target, **options)
os.replace = pause_and_replace
"""


@pytest.mark.slow
def test_a_run_killed_in_every_stage_completes(
    fresh_project: Project, ran: Project, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PAUSE)
    paused = tmp_path / "paused"
    for number, stage in enumerate(STAGES):
        interrupted = Project(fresh_project.root)
        interrupted.environment |= {
            "PYTHONPATH": str(tmp_path),
            "PAUSE_AT": OUTPUTS[stage][-1],
            "PAUSED": str(paused),
        }
        process = interrupted.start("dvc", "repro")
        while process.poll() is None and not paused.exists():
            time.sleep(0.01)
        assert paused.exists(), f"{stage} ended without writing {OUTPUTS[stage][-1]}"
        paused.unlink()
        assert kill(process, stage_alone=number % 2 == 0)
        check_visible(fresh_project, ran)
    check_completes(fresh_project, ran)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN_IN_PLACE)
def test_what_dvc_left_empty_is_named_and_can_be_deleted(
    project: Project, ran: Project, name: str
) -> None:
    (project.root / name).write_bytes(b"")
    check_completes(project, ran)
    assert project.stages_run(project.run("dvc", "repro")) == []


@pytest.mark.slow
def test_two_runs_at_once_leave_one_result(ran: Project, tmp_path: Path) -> None:
    project = before(ran, "evaluate", tmp_path / "project")
    first = project.start("dvc", "repro")
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("Running stage 'evaluate'"):
            break
    output = project.run("dvc", "repro", status=255)
    assert f"is busy, it is being blocked by:\n  (PID {first.pid}): " in output
    first.communicate()
    assert first.returncode == 0
    check_completes(project, ran)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty directory that is a disk of 32 MB."""
    if sys.platform != "linux":
        pytest.skip("mounts a tmpfs, which is Linux only")
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(directory)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk requires root")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass


def protect(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


@pytest.mark.parametrize(
    ("spoil", "reason"), [(fill, "No space left on device"), (protect, "Read-only file system")]
)
@pytest.mark.parametrize(
    ("stage", "written"),
    [
        ("fetch", "data/raw/MNIST/raw/t10k-images-idx3-ubyte"),
        ("convert", "data/train.csv"),
        pytest.param("train", r"models/.checkpoints/\w+.safetensors", marks=pytest.mark.slow),
        pytest.param("train", "plots/loss.csv", marks=pytest.mark.slow),
        pytest.param("evaluate", "metrics/test.json", marks=pytest.mark.slow),
        pytest.param("sanity_check", "plots/sanity_check.png", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_cannot_be_written_to_is_named(
    project: Project,
    disk: Path,
    stage: str,
    written: str,
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    directory = project.root / written.partition("/")[0]
    shutil.copytree(directory, disk, dirs_exist_ok=True)
    shutil.rmtree(directory)
    directory.symlink_to(disk)
    if stage == "fetch":
        (project.root / written).unlink()
    spoil(disk)
    earlier = files(project, list(STAGES))
    _, _, *command = project.command(stage)
    output = project.run_module(*command, status=1)
    assert re.fullmatch(f"error: {written}: {reason}", output.splitlines()[-1])
    assert "Traceback" not in output
    assert files(project, list(STAGES)) == earlier


@pytest.mark.slow
def test_a_full_disk_for_temporary_files_is_named(fresh_project: Project, disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64k", disk], check=True)
    fresh_project.environment["TMPDIR"] = str(disk)
    output = fresh_project.run(*fresh_project.command("fetch"), status=1)
    assert re.search(rf"^error: .*{disk}/\w+: No space left on device; set TMPDIR", output, re.M)
    assert files(fresh_project, ["fetch"]) == {}


@pytest.fixture(scope="session")
def seconds(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """How long `dvc repro` takes for each stage."""
    taken = {}
    for stage in STAGES:
        project = before(ran, stage, tmp_path_factory.mktemp("timed") / "project")
        started = time.monotonic()
        check_completes(project, ran, stage)
        taken[stage] = time.monotonic() - started
    print(f"SEED={SEED}", *(f"{stage}: {taken[stage]:.1f} s" for stage in taken), sep="\n")
    return taken


@pytest.mark.soak
@pytest.mark.parametrize("number", range(KILLS["repro"]))
def test_soak(ran: Project, tmp_path: Path, seconds: dict[str, float], number: int) -> None:
    """A kill at a random moment of a stage's first `dvc repro`, and of the whole one's."""
    rng = random.Random(f"{SEED} {number}")
    stage = list(STAGES)[number % len(STAGES)]
    whole = number % 10 == 0
    stage_alone = rng.random() < 0.5
    for attempt in range(10):
        project = before(ran, stage, tmp_path / str(attempt))
        moment = rng.uniform(0, sum(seconds.values()) / 2 if whole else seconds[stage])
        process = project.start("dvc", "repro", *([] if whole else [stage]))
        time.sleep(moment)
        killed = kill(process, stage_alone)
        check_visible(project, ran)
        if killed:
            break
    assert killed
    print(f"{number}: {stage}, {'stage' if stage_alone else 'all'} after {moment:.2f} s", end=" ")
    check_completes(project, ran, None if whole else stage)
    shutil.rmtree(tmp_path)


def kill_at_random(
    ran: Project, directory: Path, command: list[str], longest: float, rng: random.Random
) -> Project:
    """Start a command in a copy of the project and kill it with all that it started.

    If it ends before, this is repeated in another copy, sooner.
    """
    for attempt in range(10):
        project = ran.copy(directory / str(attempt))
        moment = rng.uniform(0, longest)
        process = project.start(*command)
        time.sleep(moment)
        if kill(process, stage_alone=False):
            print(f"{' '.join(command)} after {moment:.2f} s", end=" ")
            return project
        longest = moment
    pytest.fail(f"{' '.join(command)} ended before each kill")


def restore(project: Project) -> None:
    """What docs/troubleshooting.md says to do after an experiment was killed."""
    project.run("git", "checkout", "--quiet", "HEAD", "--", "params.yaml")
    for name in (*WRITTEN_IN_PLACE, ".dvc/tmp/exps/rwlock"):
        path = project.root / name
        if path.is_file() and not path.read_bytes():
            print(f"{name} is empty", end=" ")
            path.unlink()


@pytest.fixture(scope="session")
def experiment(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, float]:
    """The small project after an experiment that was not disturbed, and how long that took."""
    project = ran.copy(tmp_path_factory.mktemp("experiment") / "project")
    started = time.monotonic()
    project.run("dvc", "exp", "run", "-S", "z_size=8")
    return project, time.monotonic() - started


@pytest.mark.soak
@pytest.mark.parametrize("number", range(KILLS["experiment"]))
def test_soak_of_experiments(
    ran: Project, tmp_path: Path, experiment: tuple[Project, float], number: int
) -> None:
    """After a kill and `git checkout HEAD -- params.yaml`, the same experiment completes."""
    whole, longest = experiment
    command = ["dvc", "exp", "run", "-S", "z_size=8"]
    rng = random.Random(f"{SEED} exp {number}")
    project = kill_at_random(ran, tmp_path, command, longest, rng)
    restore(project)
    project.run(*command)
    assert files(project, list(STAGES)) == files(whole, list(STAGES))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(KILLS["tool"]))
def test_soak_of_tools(ran: Project, tmp_path: Path, number: int) -> None:
    """A killed tool leaves the old output or the new one, and nothing that the next run keeps."""
    read = "--model models/autoencoder.safetensors --images data/test.csv"
    tool = [
        f"tools.encode {read} --codes out.csv",
        "tools.explore --out out.csv",
        f"tools.reconstruct {read} --reconstructions o.png --scores out.csv",
    ][number % 3]
    command = [sys.executable, "-m", *tool.split()]
    original = ran.copy(tmp_path / "original")
    started = time.monotonic()
    original.run(*command)
    longest = time.monotonic() - started
    out = original.root / "out.csv"
    whole = out.read_bytes()
    out.write_text("old")
    rng = random.Random(f"{SEED} tool {number}")
    project = kill_at_random(original, tmp_path, command, longest, rng)
    assert (project.root / "out.csv").read_bytes() in (b"old", whole)
    project.run(*command)
    assert (project.root / "out.csv").read_bytes() == whole
    assert not list(project.root.glob(".*.partial"))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(KILLS["sweep"]))
def test_soak_of_sweeps(ran: Project, tmp_path: Path, number: int) -> None:
    """After a kill of the sweep and its workers, `dvc queue kill`, and the sweep completes."""
    command = [sys.executable, "-m", "tools.sweep", "epochs", "1,2"]
    rng = random.Random(f"{SEED} sweep {number}")
    project = kill_at_random(ran, tmp_path, command, 15, rng)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(project.root) and process.pid != os.getpid():
                process.kill()
    restore(project)
    status = project.run("dvc", "queue", "status")
    for state, action in (("Running", "kill"), ("Queued", "remove")):
        if names := re.findall(rf"^\S+ +(\S+) .* {state}$", status, re.M):
            project.run("dvc", "queue", action, *names)
    project.run(*command)
    assert len((project.root / "sweeps/epochs.csv").read_text().splitlines()) == 3
