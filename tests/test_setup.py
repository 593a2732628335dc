"""`make setup` on a small lock, with packages made here: it works, or says why it does not."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from helpers.project import ROOT
from helpers.server import files_of, serving
from werkzeug.serving import make_ssl_devcert

pytestmark = [pytest.mark.process, pytest.mark.slow]


def build_wheel(directory: Path, name: str, version: str, files: dict[str, bytes]) -> str:
    """Write a wheel; return its lines in a lock."""
    info = f"{name}-{version}.dist-info"
    path = directory / f"{name}-{version}-py3-none-any.whl"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in (files | {f"{info}/RECORD": record.encode()}).items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n    # via nothing\n"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A directory of wheels, and by name their lines in a lock. uv is the real one."""
    directory = tmp_path_factory.mktemp("wheels")
    uv = distribution("uv")
    binary = Path(str(uv.locate_file("../../../bin/uv"))).read_bytes()
    files = {f"uv-{uv.version}.data/scripts/uv": binary, "uv/__init__.py": b""}
    lines = {"uv": build_wheel(directory, "uv", uv.version, files)}
    for name in ("dvc", "torch", "extra"):
        lines[name] = build_wheel(directory, name, "1.0", {f"{name}/__init__.py": b"x = 1\n"})
    broken = {"torch/__init__.py": b"raise ImportError('no libgomp')\n"}
    lines["broken"] = build_wheel(directory, "torch", "2.0", broken)
    return directory, lines


class Checkout:
    """What `make setup` needs of a checkout, with a lock of some of the wheels."""

    def __init__(self, root: Path, wheels: tuple[Path, dict[str, str]]) -> None:
        self.root = root
        self.lines = wheels[1]
        (root / "tools").mkdir(parents=True)
        for name in ("Makefile", "tools/setup.py"):
            shutil.copy2(ROOT / name, root / name)
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "UV_", "GIT_", "PYTHON", "MAKE", "VENV"))
        }
        self.environment = clean | {
            "HOME": str(root.parent),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels[0]),
            "UV_CACHE_DIR": str(wheels[0] / "cache"),
        }
        self.lock("uv", "dvc", "torch", "extra")

    def lock(self, *names: str) -> None:
        """Write a lock that is older than any environment."""
        path = self.root / "requirements.lock"
        path.write_text("".join(self.lines[name] for name in names))
        os.utime(path, (0, 0))

    def make(self, *arguments: str, status: int = 0) -> str:
        """Run make; return its output."""
        result = subprocess.run(
            ["make", *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert bool(result.returncode) == bool(status), result.stdout
        assert "Traceback" not in result.stdout
        return result.stdout

    def setup(self, *arguments: str, status: int = 0) -> str:
        return self.make(f"PYTHON={sys.executable}", "setup", *arguments, status=status)

    def packages(self) -> set[str]:
        """The packages that can be imported from the environment."""
        code = "import pkgutil; print(*{m.name for m in pkgutil.iter_modules()})"
        python = self.root / ".venv/bin/python"
        listed = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
        return {"uv", "dvc", "torch", "extra", "pip"} & set(listed.stdout.split())


@pytest.fixture
def checkout(tmp_path: Path, wheels: tuple[Path, dict[str, str]]) -> Checkout:
    return Checkout(tmp_path / "Ann's $mall checkout", wheels)


def test_it_installs_what_is_locked_whatever_the_environment_says(checkout: Checkout) -> None:
    root = checkout.root
    elsewhere = root.parent / "elsewhere"
    shutil.copytree(root / "tools", elsewhere / "dvc")
    pip_conf = root.parent / ".config/pip/pip.conf"
    pip_conf.parent.mkdir(parents=True)
    pip_conf.write_text(f"[install]\ntarget = {elsewhere}\n")
    checkout.environment |= {
        "PIP_TARGET": str(elsewhere),
        "PIP_PREFIX": str(elsewhere),
        "PIP_ROOT": str(elsewhere),
        "PIP_DRY_RUN": "1",
        "PYTHONPATH": str(elsewhere),
        "PYTHONHOME": str(elsewhere),
    }
    output = checkout.setup()
    assert "uv failed" not in output
    assert "using pip" not in output
    assert checkout.packages() == {"uv", "dvc", "torch", "extra", "pip"}
    (installed,) = root.glob(".venv/lib/*/site-packages/extra/__init__.py")
    assert installed.stat().st_nlink > 1, "copied instead of linked to the cache"
    assert checkout.setup() == ""

    checkout.lock("uv", "dvc", "torch")
    checkout.setup()
    assert checkout.packages() == {"uv", "dvc", "torch", "pip"}


@pytest.fixture
def index(wheels: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a package index with a company's certificate, and that certificate."""
    for path in wheels[0].glob("*.whl"):
        page = tmp_path / "index/simple" / path.name.split("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        link = f'<a href="{path.name}">{path.name}</a>\n'
        page.write_text((page.read_text() if page.exists() else "") + link)
        (page.parent / path.name).symlink_to(path)

    certificate = make_ssl_devcert(str(tmp_path / "server"), host="localhost")
    with serving(files_of(tmp_path / "index"), certificate) as address:
        yield f"{address}simple", certificate[0]


@pytest.mark.parametrize("bundle", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("setting", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "uv.toml"])
def test_it_installs_from_the_index_that_pip_or_uv_knows(
    checkout: Checkout, index: tuple[str, str], setting: str, bundle: str
) -> None:
    address, certificate = index
    for name in list(checkout.environment):
        if name.startswith("PIP_") or name.endswith(("CERT_FILE", "CERT_DIR", "CA_BUNDLE")):
            del checkout.environment[name]
    checkout.environment |= {"PIP_CONFIG_FILE": os.devnull, bundle: certificate, "NO_PROXY": "*"}
    path = checkout.environment["PATH"].split(os.pathsep)
    without_uv = [name for name in path if not (Path(name) / "uv").exists()]
    checkout.environment["PATH"] = os.pathsep.join(without_uv)
    if setting == "uv.toml":
        # Who has a uv.toml has uv.
        with_uv = [str(Path(sys.executable).parent), *without_uv]
        checkout.environment["PATH"] = os.pathsep.join(with_uv)
        uv_toml = checkout.root.parent / ".config/uv/uv.toml"
        uv_toml.parent.mkdir(parents=True)
        uv_toml.write_text(f'[[index]]\nname = "company"\nurl = "{address}"\ndefault = true\n')
    else:
        checkout.environment[setting] = address
    output = checkout.setup()
    assert "uv failed" not in output
    assert "using pip" not in output
    assert checkout.packages() == {"uv", "dvc", "torch", "extra", "pip"}


@pytest.mark.slow
def test_a_moved_checkout_is_set_up_again(checkout: Checkout) -> None:
    checkout.setup()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.setup()
    stamp = (checkout.root / ".venv/.ready").read_text().splitlines()
    assert stamp[0] == str(checkout.root / ".venv")
    assert str(checkout.root) in (checkout.root / ".venv/bin/pip").read_text()
    python = checkout.root / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    checkout.setup()
    assert "torch" in checkout.packages()
    (checkout.root / ".venv/.ready").write_text(str(checkout.root))  # killed while writing it
    checkout.setup()
    assert "torch" in checkout.packages()


@pytest.mark.slow
def test_without_uv_pip_installs_and_removes(checkout: Checkout) -> None:
    checkout.lock("dvc", "torch", "extra")
    assert "using pip" in checkout.setup()
    assert checkout.packages() == {"dvc", "torch", "extra", "pip"}
    checkout.lock("dvc", "torch")
    checkout.setup()
    assert checkout.packages() == {"dvc", "torch", "pip"}


@pytest.mark.slow
def test_an_environment_that_cannot_import_torch_is_not_ready(checkout: Checkout) -> None:
    checkout.lock("uv", "dvc", "broken")
    for _ in range(2):
        assert "no libgomp" in checkout.setup(status=2).splitlines()[-2]
    checkout.lock("uv", "dvc", "torch")
    checkout.setup()
    assert checkout.setup() == ""


@pytest.mark.slow
def test_a_wrong_digest_ends_in_one_line_and_keeps_the_environment(checkout: Checkout) -> None:
    checkout.setup()
    lock = checkout.root / "requirements.lock"
    good = lock.read_text()
    lock.write_text(good.replace("extra==1.0", "extra==1.1"))
    assert "No matching distribution" in checkout.setup(status=2).splitlines()[-2]
    lock.write_text(good)
    checkout.setup()
    assert "extra" in checkout.packages()


@pytest.mark.slow
def test_of_two_set_ups_at_once_the_second_waits(checkout: Checkout) -> None:
    venv = checkout.root / ".venv"
    venv.mkdir()
    holder = os.open(venv, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with subprocess.Popen(
        ["make", f"PYTHON={sys.executable}", "setup"],
        cwd=checkout.root,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert "waiting" in process.stdout.readline()
        assert list(venv.iterdir()) == []
        os.close(holder)
        process.stdout.read()
    assert process.returncode == 0
    assert "torch" in checkout.packages()


@pytest.mark.parametrize("pyvenv", [True, False])
def test_a_directory_that_is_no_environment_is_left_alone(checkout: Checkout, pyvenv: bool) -> None:
    home = checkout.root / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    if pyvenv:
        (home / "pyvenv.cfg").touch()
    assert "thesis.tex" in checkout.setup("VENV=home", status=2)
    assert (home / "thesis.tex").read_text() == "years of work"
    assert not (home / "bin").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sys.version_info = (3, 10, 1)", "Python 3.11 to 3.14 is needed, found Python"),
        ("sys.version_info = (3, 15, 0)", "Python 3.11 to 3.14 is needed, found Python"),
        ("sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1", "has no GIL, and some packages"),
    ],
)
def test_an_unsupported_python_is_named(checkout: Checkout, change: str, message: str) -> None:
    script = checkout.root / "python"
    code = f"import sys, sysconfig, runpy; {change}; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    script.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -c "{code}" "$@"\n')
    script.chmod(0o755)
    output = checkout.make("PYTHON=./python", "setup", status=2)
    assert message in output
    assert "make PYTHON=" in output
    assert not (checkout.root / ".venv").exists()


def test_the_environment_s_own_interpreter_does_not_set_it_up(checkout: Checkout) -> None:
    own = checkout.root / ".venv/bin/python3"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho the wrong one\n")
    own.chmod(0o755)
    # As if activated; there is no pyvenv.cfg, so this ends before anything is installed.
    checkout.environment["PATH"] = f"{own.parent}:{checkout.environment['PATH']}"
    output = checkout.make("setup", status=2)
    assert "the wrong one" not in output
    assert "pyvenv.cfg" in output


@pytest.mark.parametrize("target", ["repro", "test"])
def test_without_a_repository_there_is_one_line(checkout: Checkout, target: str) -> None:
    checkout.environment["GIT_CEILING_DIRECTORIES"] = str(checkout.root.parent)
    first, last = checkout.make(target, status=2).splitlines()
    assert "not a git repository" in first
    assert "git init" in first
    assert last.startswith("make: ")


def test_a_checkout_of_another_user_gets_git_s_reason(checkout: Checkout) -> None:
    subprocess.run(["git", "init", "--quiet", checkout.root], check=True)
    assert checkout.make("repository") == ""
    checkout.environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    first, _ = checkout.make("repository", status=2).splitlines()
    assert "dubious ownership" in first
    assert "safe.directory" in first


def test_line_ends_are_the_same_whatever_git_is_told(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    module, git = tmp_path / "module.py", ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true"]
    module.write_bytes(b"x = 1\n")
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    module.unlink()
    subprocess.run([*git, "checkout", "--", "module.py"], check=True)
    assert module.read_bytes() == b"x = 1\n"
