"""Sharing through a DVC remote, a directory or an S3 server: nobody reruns what was pushed."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from helpers.project import ROOT, Project
from helpers.server import files_of, serving

from autoencoder.base.files import file_digest

MODEL = "models/autoencoder.safetensors"
CREDENTIALS = {"access_key_id": "tester", "secret_access_key": "known-to-tester"}

AddRemote = Callable[[Project], None]  # names the default remote, in what git keeps


@pytest.fixture
def directory(tmp_path: Path) -> AddRemote:
    """A remote that is a directory."""

    def add(project: Project) -> None:
        project.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))

    return add


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[AddRemote]:
    """A remote that is a bucket, of a server on loopback."""
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    # The server's buckets outlive it, so what an earlier test pushed would be there.
    urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()
    urlopen(Request(f"{address}/bucket", method="PUT")).close()

    def add(project: Project) -> None:
        project.run("dvc", "remote", "add", "--default", "storage", "s3://bucket/dvc")
        project.run("dvc", "remote", "modify", "storage", "endpointurl", address)

    yield add
    server.stop()


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.slow)])
def add_remote(request: pytest.FixtureRequest) -> AddRemote:
    """Each kind of remote."""
    add: AddRemote = request.getfixturevalue(request.param)
    return add


def give_credentials(project: Project) -> None:
    """As each user of a bucket does, for this checkout alone; a directory does without."""
    if "s3://" in (project.root / ".dvc/config").read_text():
        for option, value in CREDENTIALS.items():
            project.run("dvc", "remote", "modify", "--local", "storage", option, value)


def clone(origin: Path, target: Path) -> Project:
    colleague = Project(target)
    Project(origin).run("git", "clone", "--quiet", ".", str(target))
    give_credentials(colleague)
    return colleague


def runs_nothing(project: Project) -> bool:
    project.run("dvc", "status", "--quiet")
    return project.stages_run(project.run("dvc", "repro")) == []


@pytest.fixture
def shared(small_code: tuple[Project, str], add_remote: AddRemote, tmp_path: Path) -> Project:
    """The small project with a remote; the run cache has one run more, of z_size 16."""
    project = small_code[0].copy(tmp_path / "project")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")
    add_remote(project)
    project.commit("a remote")
    give_credentials(project)
    assert project.run("git", "status", "--porcelain") == ""
    return project


@pytest.mark.slow
def test_a_colleague_runs_nothing_of_what_was_pushed(shared: Project, tmp_path: Path) -> None:
    first = file_digest(shared.root / MODEL)
    shared.run("dvc", "push", "--run-cache")
    shared.run("dvc", "exp", "run", "-S", "z_size=16")
    shared.commit("a smaller code")
    shared.run("dvc", "push", "--run-cache")

    colleague = clone(shared.root, tmp_path / "clone")
    colleague.run("dvc", "pull", "--run-cache")
    assert runs_nothing(colleague)
    assert file_digest(colleague.root / MODEL) == file_digest(shared.root / MODEL) != first

    # Back to the commit before: its parameters and its lock, and so its model.
    colleague.run("git", "revert", "--no-edit", "HEAD")
    colleague.run("dvc", "pull")
    assert runs_nothing(colleague)
    assert file_digest(colleague.root / MODEL) == first
    assert colleague.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_colleague_runs_nothing_of_an_experiment_that_was_pushed(
    shared: Project, tmp_path: Path
) -> None:
    shared.run("dvc", "exp", "run", "--name", "shared", "-S", "z_size=16")
    shared.run("git", "clone", "--quiet", "--bare", ".", "../origin")
    shared.run("git", "remote", "add", "origin", "../origin")
    shared.run("dvc", "exp", "push", "origin", "shared")

    colleague = clone(tmp_path / "origin", tmp_path / "clone")
    assert "shared" in colleague.run("dvc", "exp", "list", "origin")
    colleague.run("dvc", "exp", "pull", "origin", "shared")
    colleague.run("dvc", "exp", "apply", "shared")
    assert "z_size" in colleague.run("dvc", "params", "diff")
    assert runs_nothing(colleague)
    assert file_digest(colleague.root / MODEL) == file_digest(shared.root / MODEL)


@pytest.mark.slow
def test_pull_removes_no_file_that_a_user_put_among_the_raw_ones(
    project: Project, directory: AddRemote, tmp_path: Path
) -> None:
    directory(project)
    project.commit("a remote")
    project.run("dvc", "push")
    colleague = clone(project.root, tmp_path / "clone")
    own = colleague.root / "data/raw/own"
    own.parent.mkdir()
    own.write_text("mine")
    assert str(own) in colleague.run("dvc", "pull", status=1)
    assert own.read_text() == "mine"
    colleague.run("dvc", "pull", "--force")
    assert not own.exists()
    assert runs_nothing(colleague)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server, with the directory of the tests' remotes."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(files_of(tmp_path)) as address:
        yield address.rstrip("/")


@pytest.mark.slow
def test_a_published_model_is_used_without_training(
    project: Project, directory: AddRemote, tmp_path: Path, site: str
) -> None:
    """The lines of docs/sharing.md, with another address of the repository and of the server."""
    page = (ROOT / "docs/sharing.md").read_text().partition("## Publish a trained model")[2]
    blocks = re.findall(r"```bash\n(.*?)```", page.partition("\n## ")[0], re.DOTALL)
    repository = (tmp_path / "autoencoder.git").as_uri()  # git takes this for another machine
    publish, get, use = (
        block.replace("https://example.com/autoencoder.git", repository)
        .replace("https://example.com/storage", f"{site}/storage")
        .replace("make setup && . .venv/bin/activate\n", "")
        for block in blocks
    )
    directory(project)
    project.commit("a remote")
    project.run("git", "clone", "--quiet", "--bare", ".", "../autoencoder.git")
    project.run("git", "remote", "add", "origin", repository)
    project.run("sh", "-ec", publish)
    assert project.run("git", "status", "--porcelain") == ""

    stranger = Project(tmp_path / "stranger/work")
    stranger.root.mkdir(parents=True)
    stranger.run("sh", "-ec", get)
    for name in ("autoencoder.safetensors", "v1.safetensors"):
        assert file_digest(stranger.root / name) == file_digest(project.root / MODEL)
    shutil.copy(project.root / "data/test.csv", stranger.root / "images.csv")
    page = (ROOT / "docs/inference.md").read_text()
    plain = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    read = (
        "import pandas, torch\n"
        "table = pandas.read_csv('images.csv').iloc[:, 1:]\n"
        "images = torch.from_numpy(table.to_numpy('float32') / 255)\n"
    )
    score = "print(nn.functional.binary_cross_entropy(network(images), images).item())\n"
    lines = read + plain.replace("models/autoencoder", "autoencoder") + score
    bce = json.loads((project.root / "metrics/test.json").read_text())["bce"]
    assert float(stranger.run("python", "-c", lines)) == pytest.approx(bce, rel=1e-5)
    output = stranger.run("sh", "-ec", use)
    assert project.stages_run(output) == []
    assert (stranger.root / "autoencoder/out/images.png").stat().st_size
    assert len((stranger.root / "autoencoder/out/scores.csv").read_text().splitlines()) == 101
    # Who cannot write to the server is not asked to: the lock and the remote are as published.
    clone = Project(stranger.root / "autoencoder")
    assert clone.run("git", "status", "--porcelain") == ""
