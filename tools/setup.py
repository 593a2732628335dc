"""Install the locked packages into a virtual environment: `make setup`.

Run by the user's Python, whose version is only checked here: nothing but the standard library, and
no syntax newer than Python 3.6. uv installs, through hard links to its cache; pip, if uv cannot.
Both get nothing from outside but the settings that say where and how to download: pip's, or uv's
where only uv has been told of an index.
"""

import argparse
import ast
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
STAMP = ".ready"
# PyTorch has wheels for these.
OLDEST, NEWEST = (3, 11), (3, 14)
# What a virtual environment contains at its top; with anything else in it, it is not deleted.
CONTENTS = {
    "bin",
    "include",
    "lib",
    "lib64",
    "share",
    "etc",
    "man",
    "pyvenv.cfg",
    STAMP,
    ".gitignore",
    ".lock",
    "CACHEDIR.TAG",
}
# pip's settings that say where and how to download, and uv's variables for the same. The others
# could install elsewhere or nothing at all (target, prefix, root, dry-run, …).
DOWNLOADS = {
    "index-url": ["UV_DEFAULT_INDEX"],
    "extra-index-url": ["UV_INDEX"],
    "find-links": ["UV_FIND_LINKS"],
    "no-index": [],
    "trusted-host": ["UV_INSECURE_HOST"],
    "cert": ["SSL_CERT_FILE"],
    "client-cert": ["SSL_CLIENT_CERT"],
    "proxy": ["HTTP_PROXY", "HTTPS_PROXY"],
    "timeout": ["UV_HTTP_TIMEOUT"],
    "default-timeout": ["UV_HTTP_TIMEOUT"],
    "retries": ["UV_HTTP_RETRIES"],
    "no-cache-dir": ["UV_NO_CACHE"],
    "cache-dir": [],
    "keyring-provider": [],
}
KEPT_OF_UV = {
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_LINK_MODE",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
}
# What uv is configured with, in its variables and in uv.toml, as pip's settings.
SETTINGS_OF_UV = {
    "index-url": (["UV_DEFAULT_INDEX", "UV_INDEX_URL"], "index-url"),
    "extra-index-url": (["UV_INDEX", "UV_EXTRA_INDEX_URL"], "extra-index-url"),
    "find-links": (["UV_FIND_LINKS"], "find-links"),
    "trusted-host": (["UV_INSECURE_HOST"], "allow-insecure-host"),
}
PYTHON_VARIABLES = {"PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "PYTHONPLATLIBDIR"}
READ_TOML = """
import json, sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(json.dumps(tomllib.load(file), default=str))
"""
CHECK = """
import sys, dvc, torch
for module in (dvc, torch):
    if not module.__file__.startswith(sys.prefix):
        sys.exit(f"{module.__name__} comes from {module.__file__}")
"""


def main() -> None:
    """Set the environment up, unless it is as the lock wants it."""
    parser = argparse.ArgumentParser(description="Install the locked packages.")
    parser.add_argument("venv", type=Path, help="directory of the virtual environment")
    parser.add_argument("--this-python", action="store_true", help="replace another version")
    arguments = parser.parse_args()
    try:
        venv = arguments.venv.resolve()
        if not is_ready(venv, arguments.this_python):
            set_up(venv, arguments.this_python)
    except OSError as error:
        sys.exit(f"set-up failed: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def set_up(venv: Path, this_python: bool) -> None:
    """Create or update the environment; the digest of the lock is recorded last."""
    if not usable_stamp(venv, this_python):
        check_python()
    try:
        venv.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        sys.exit(f"{venv} is not a directory; choose another with `make VENV=…`")
    # Of two set-ups at once, the second waits; the kernel releases the lock, whatever happens.
    directory = os.open(venv, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another set-up of {venv}", flush=True)
        fcntl.flock(directory, fcntl.LOCK_EX)
    if is_ready(venv, this_python):
        return
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in PYTHON_VARIABLES and (not name.startswith("UV_") or name in KEPT_OF_UV)
    }
    digest = lock_digest()
    if not usable_stamp(venv, this_python):
        create(venv, environment)
    print(f"installing {LOCK.name} into {venv}", flush=True)
    stamp = {"location": str(venv), "python": python_version(venv)}
    # If this fails, the environment can still be updated later.
    (venv / STAMP).write_text(json.dumps(stamp))
    install(venv, environment)
    what = f"dvc and torch cannot be imported from {venv}"
    run_or_exit(what, [python(venv), "-I", "-c", CHECK], environment)
    (venv / STAMP).write_text(json.dumps({**stamp, "lock": digest}))


def check_python() -> None:
    """Exit unless this interpreter has wheels in the lock and can create environments."""
    found = f"Python {sys.version.split()[0]} ({sys.executable})"
    choose = "choose another with `make PYTHON=/path/to/python3.x`"
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        needed = "Python {}.{} to {}.{}".format(*OLDEST, *NEWEST)
        sys.exit(f"{needed} is needed, found {found}; {choose}")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit(f"{found} has no GIL, and some packages have no wheels for that; {choose}")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit(f"{found} cannot create virtual environments: install python3-venv, or {choose}")


def python(venv: Path) -> str:
    """Return the path of the environment's interpreter."""
    return str(venv / "bin/python")


def python_version(venv: Path) -> "str | None":
    """Return "3.11" or the like, as the environment's interpreter says, or None if it is broken."""
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        return run([python(venv), "-I", "-c", code], None).stdout.strip() or None
    except OSError:
        return None


def lock_digest() -> str:
    """Return the SHA-256 of the lock."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def usable_stamp(venv: Path, this_python: bool) -> "dict[str, str]":
    """Return what the last set-up recorded: location, Python and, if it succeeded, the lock.

    Nothing unless the environment was created here, and its Python is still the same and works.
    """
    try:
        stamp = json.loads((venv / STAMP).read_text())
        made = (stamp["location"], stamp["python"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    version = python_version(venv)
    wanted = "{}.{}".format(*sys.version_info) if this_python else version
    return stamp if version and made == (str(venv), version) and version == wanted else {}


def is_ready(venv: Path, this_python: bool) -> bool:
    """Tell whether the environment can be used and contains what the lock lists."""
    return usable_stamp(venv, this_python).get("lock") == lock_digest()


def create(venv: Path, environment: "dict[str, str]") -> None:
    """Create an empty environment; delete the one that is there, but nothing else."""
    found = {path.name for path in venv.iterdir()}
    foreign = sorted(found - CONTENTS)
    if found and ("pyvenv.cfg" not in found or foreign):
        what = f"contains {foreign[0]}" if foreign else "has no pyvenv.cfg"
        sys.exit(
            f"{venv} is not a virtual environment ({what}) and is left as it is; "
            "choose another directory with `make VENV=…`"
        )
    command = [sys.executable, "-I", "-m", "venv", "--clear", str(venv)]
    run_or_exit(" ".join(command), command, environment)


def with_downloads(venv: Path, environment: "dict[str, str]") -> "dict[str, str]":
    """Replace pip's and uv's settings in the environment by those that are about downloads."""
    settings = pip_settings(venv, environment)
    if not {"index-url", "no-index"} & set(settings):
        settings = {**uv_settings(venv), **settings}
    # Each of pip, uv and OpenSSL reads some of these; here, both installers trust any of them.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if Path(environment.get(name, "")).is_file():
            settings.setdefault("cert", environment[name])
    environment = {
        name: value for name, value in environment.items() if not name.startswith("PIP_")
    }
    environment["PIP_CONFIG_FILE"] = os.devnull
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    # As with pip, all indexes count; the hashes say which file is the right one.
    environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    for name, value in settings.items():
        environment["PIP_" + name.upper().replace("-", "_")] = value
        for variable in DOWNLOADS[name]:
            separator = "," if name == "find-links" else " "
            environment[variable] = separator.join(value.split())
    return environment


def install(venv: Path, environment: "dict[str, str]") -> None:
    """Install what the lock lists, and remove other packages."""
    environment = with_downloads(venv, environment)
    pip = [python(venv), "-m", "pip"]
    hashed = ["install", "--require-hashes", "--no-deps"]

    # uv, and what builds the source distributions: from the lock, so that they have hashes, too.
    text = LOCK.read_text()
    first = re.findall(r"^(?:uv|setuptools)==.*\n(?: .*\n)*", text, re.MULTILINE)
    bootstrap = run(
        [*pip, *hashed, "--quiet", "--requirement", "/dev/stdin"], environment, "".join(first)
    )
    uv = venv / "bin/uv"
    if bootstrap.returncode == 0 and uv.exists():
        sync = [str(uv), "pip", "sync", "--no-config", "--require-hashes"]
        sync += ["--preview-features", "build-dependency-hashes", "--require-build-hashes"]
        sync += ["--build-constraints", str(LOCK), "--python", python(venv), str(LOCK)]
        if environment.get("PIP_NO_INDEX", "no").lower() not in ("0", "false", "no", "off"):
            sync.append("--no-index")
        status = subprocess.run(sync, env=environment).returncode
        if status == 0:
            return
        print(f"uv failed with exit status {status}; installing with pip", flush=True)
    else:
        print(f"uv cannot be installed ({reason(bootstrap)}); using pip", flush=True)

    # The build dependency has been installed from its hash: no other one is downloaded.
    isolated = ["--use-pep517", "--no-build-isolation"]
    everything = run([*pip, *hashed, *isolated, "--requirement", str(LOCK)], environment)
    if everything.returncode:
        sys.exit(f"set-up failed: {reason(everything)}{free_space(everything.stderr, venv)}")
    locked = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE)) | {"pip"}
    listed = json.loads(run([*pip, "list", "--format", "json"], environment).stdout)
    names = {re.sub(r"[-_.]+", "-", package["name"]).lower() for package in listed}
    if names - locked:
        run([*pip, "uninstall", "--yes", *sorted(names - locked)], environment)


def pip_settings(venv: Path, environment: "dict[str, str]") -> "dict[str, str]":
    """Return those of pip's settings that are about downloads, by name."""
    readable = {**environment, "PIP_QUIET": "0", "PIP_VERBOSE": "0"}
    command = [python(venv), "-m", "pip", "config", "list"]
    listed = run_or_exit("pip's configuration", command, readable)
    settings = {}
    for section in ("global", "install", ":env:"):  # the later ones win
        pattern = rf"^{section}\.([\w-]+)=(.*)$"
        for name, value in re.findall(pattern, listed, re.MULTILINE):
            if name in DOWNLOADS and ast.literal_eval(value):
                settings[name] = ast.literal_eval(value)
    return settings


def uv_settings(venv: Path) -> "dict[str, str]":
    """Return those of uv's settings that say where to download, by the names that pip has."""
    config = uv_config(venv)
    indexes = config.pop("index", [])
    for name, is_default in (("index-url", True), ("extra-index-url", False)):
        urls = [index["url"] for index in indexes if index.get("default", False) == is_default]
        if urls:
            config[name] = urls
    settings = {}
    for name, (variables, key) in SETTINGS_OF_UV.items():
        found = [os.environ[variable] for variable in variables if os.environ.get(variable)]
        value = found[0].replace(",", " ").split() if found else config.get(key, [])
        values = [value] if isinstance(value, str) else value
        if values:
            # An index may have a name: company=https://…
            settings[name] = " ".join(re.sub(r"^[\w.-]+=", "", text) for text in values)
    return settings


def uv_config(venv: Path) -> "dict[str, Any]":
    """Return what uv's configuration files of the user and of the system say; the user's wins."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    system = (os.environ.get("XDG_CONFIG_DIRS") or "/etc").split(":")[0]
    files = [Path(system, "uv/uv.toml"), Path("/etc/uv/uv.toml"), Path(home, "uv/uv.toml")]
    if os.environ.get("UV_CONFIG_FILE"):
        files = [Path(os.environ["UV_CONFIG_FILE"])]
    config = {}
    for path in filter(Path.exists, files):
        # By the environment's Python: older ones cannot read it.
        command = [python(venv), "-I", "-c", READ_TOML, str(path)]
        found = json.loads(run_or_exit(str(path), command, None))
        config.update({**found, **found.get("pip", {})})
    return config


def free_space(stderr: str, venv: Path) -> str:
    """Return how much space is left where, if that is what was missing."""
    if "No space left" not in stderr:
        return ""
    directories = [venv, Path(tempfile.gettempdir())]
    free = [f"{path}: {shutil.disk_usage(path).free / 1e9:.1f} GB" for path in directories]
    return f"; free are {', '.join(free)} (choose others with `make VENV=…` and TMPDIR)"


def run(
    command: "list[str]", environment: "dict[str, str] | None", text: "str | None" = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command and capture its output."""
    return subprocess.run(  # noqa: UP022 - as Python 3.6 has it
        command,
        env=environment,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,  # noqa: UP021
        check=False,
    )


def run_or_exit(what: str, command: "list[str]", environment: "dict[str, str] | None") -> str:
    """Run a command and return what it prints; if it fails, exit and say what failed, and why."""
    result = run(command, environment)
    if result.returncode:
        sys.exit(f"set-up failed: {what}: {reason(result)}")
    return result.stdout


def reason(result: "subprocess.CompletedProcess[str]") -> str:
    """Return the line of a program's messages that says what went wrong."""
    text = result.stderr.strip() or result.stdout.strip() or f"exit status {result.returncode}"
    lines = text.splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]  # pip's
    return (errors or lines)[-1]


if __name__ == "__main__":
    main()
