"""Kills, full disks, read-only folders and two runs at once: nothing breaks, nothing is half."""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project

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
KILLS = 100


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
    for folder in (".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project.root / folder)
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


def start(project: Project, *command: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str], stage_alone: bool) -> bool:
    """Kill a `dvc repro` with all that it started, or the stage alone; False if it had ended."""
    group = subprocess.run(
        ["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=False
    )
    for pid in map(int, group.stdout.split()):
        if pid != process.pid or not stage_alone:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
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
    """The next `dvc repro` completes as it is, with the bytes of the run never disturbed."""
    project.run("dvc", "repro", *filter(None, [stage]))
    done = list(STAGES)[: list(STAGES).index(stage) + 1] if stage else list(STAGES)
    assert files(project, done) == files(ran, done)
    locks = [yaml.safe_load((p.root / "dvc.lock").read_text())["stages"] for p in (project, ran)]
    assert locks[0] == {name: locks[1][name] for name in done}


def test_a_run_killed_in_every_stage_completes(fresh_project: Project, ran: Project) -> None:
    rng = random.Random("0")
    for number, stage in enumerate(STAGES):
        process = start(fresh_project, "dvc", "repro")
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"Running stage '{stage}'"):
                break
        time.sleep(rng.uniform(0, 0.6))
        kill(process, stage_alone=number % 2 == 0)
        check_visible(fresh_project, ran)
    check_completes(fresh_project, ran)


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
@pytest.mark.parametrize("number", range(KILLS))
def test_soak(ran: Project, tmp_path: Path, seconds: dict[str, float], number: int) -> None:
    """A kill at a random moment of a stage's first `dvc repro`, and of the whole one's."""
    rng = random.Random(f"{SEED} {number}")
    stage = list(STAGES)[number % len(STAGES)]
    whole = number % 10 == 0
    stage_alone = rng.random() < 0.5
    for attempt in range(10):
        project = before(ran, stage, tmp_path / str(attempt))
        moment = rng.uniform(0, sum(seconds.values()) / 2 if whole else seconds[stage])
        process = start(project, "dvc", "repro", *([] if whole else [stage]))
        time.sleep(moment)
        killed = kill(process, stage_alone)
        check_visible(project, ran)
        if killed:
            break
    assert killed
    print(f"{number}: {stage}, {'stage' if stage_alone else 'all'} after {moment:.2f} s", end=" ")
    check_completes(project, ran, None if whole else stage)
    shutil.rmtree(tmp_path)
