"""Install the locked packages into a virtual environment: `make setup`.

Run by the user's Python, whose version is only checked here: nothing but the standard library, and
no syntax newer than Python 3.6. uv installs, through hard links to its cache; pip, if uv cannot.
Both get nothing from outside but the settings that say where and how to download; uv gets pip's,
too, and pip gets uv's where only uv has been told of an index.
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
from pathlib import Path

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
# The settings of pip and uv that say where and how to download, by words in their names. The others
# could install elsewhere or nothing at all (target, prefix, root, dry-run, …).
DOWNLOADS = "INDEX|LINK|HOST|CERT|PROXY|TIMEOUT|RETRIES|CACHE|KEYRING|TLS|DOWNLOADS"
# pip's settings, and what uv reads in their place. With any other, pip installs if uv cannot.
READ_BY_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "no-cache-dir": "UV_NO_CACHE",
}


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
    digest = lock_digest()
    if not usable_stamp(venv, this_python):
        create(venv)
    print(f"installing {LOCK.name} into {venv}", flush=True)
    stamp = {"location": str(venv), "python": python_version(venv)}
    # If this fails, the environment can still be updated later.
    (venv / STAMP).write_text(json.dumps(stamp))
    install(venv)
    what = f"dvc and torch cannot be imported from {venv}"
    run_or_exit(what, [python(venv), "-I", "-c", "import dvc, torch"])
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
        return run([python(venv), "-I", "-c", code]).stdout.strip() or None
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


def create(venv: Path) -> None:
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
    run_or_exit(" ".join(command), command)


def install(venv: Path) -> None:
    """Install what the lock lists, and remove other packages."""
    pip = [python(venv), "-I", "-m", "pip"]
    environment = download_environment(pip)
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
        if environment.get("PIP_NO_INDEX"):
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
        full = "No space left" in everything.stderr
        hint = "; choose other disks with `make VENV=…` and TMPDIR" if full else ""
        sys.exit(f"set-up failed: {reason(everything)}{hint}")
    locked = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE)) | {"pip"}
    listed = json.loads(run([*pip, "list", "--format", "json"], environment).stdout)
    names = {re.sub(r"[-_.]+", "-", package["name"]).lower() for package in listed}
    if names - locked:
        run([*pip, "uninstall", "--yes", *sorted(names - locked)], environment)


def download_environment(pip: "list[str]") -> "dict[str, str]":
    """Return the environment for pip and uv: of their settings, those that are about downloads."""
    settings = pip_settings(pip)
    if not {"index-url", "no-index"} & set(settings):
        settings = {**uv_settings(), **settings}
    # Each of pip, uv and OpenSSL reads some of these; here, both installers trust any of them.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if Path(os.environ.get(name, "")).is_file():
            settings.setdefault("cert", os.environ[name])
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_")) or re.search(DOWNLOADS, name)
    }
    environment["PIP_CONFIG_FILE"] = os.devnull
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    # As with pip, all indexes count; the hashes say which file is the right one.
    environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    for name, value in settings.items():
        environment[variable_name("PIP", name)] = value
        if name in READ_BY_UV:
            separator = "," if name == "find-links" else " "
            environment[READ_BY_UV[name]] = separator.join(value.split())
    return environment


def pip_settings(pip: "list[str]") -> "dict[str, str]":
    """Return those of pip's settings that are about downloads, by name; lists with spaces."""
    readable = {**os.environ, "PIP_QUIET": "0", "PIP_VERBOSE": "0"}
    listed = run_or_exit("pip's configuration", [*pip, "config", "list"], readable)
    settings = {}
    for section in ("global", "install", ":env:"):  # the later ones win
        pattern = rf"^{section}\.([\w-]+)=(.*)$"
        for name, value in re.findall(pattern, listed, re.MULTILINE):
            words = ast.literal_eval(value).split()
            if re.search(DOWNLOADS, name.upper()) and words:
                settings[name] = " ".join(words)
    return settings


def uv_settings() -> "dict[str, str]":
    """Return where uv downloads from, by the names that pip has; lists with spaces."""
    uv = shutil.which("uv")
    if uv is None:
        return {
            name: os.environ[variable]
            for name in ("index-url", "extra-index-url", "find-links", "trusted-host")
            for variable in (READ_BY_UV[name], variable_name("UV", name))
            if variable in os.environ
        }
    # It knows its configuration files, too, and says what they amount to.
    command = [uv, "pip", "compile", "--emit-index-url", "--emit-find-links", "--quiet", os.devnull]
    settings = {}  # type: dict[str, str]
    for name, value in re.findall(r"^--(\S+) (.*)$", run(command).stdout, re.MULTILINE):
        settings[name] = f"{settings.get(name, '')} {value}".strip()
    return settings


def variable_name(program: str, option: str) -> str:
    """Return the environment variable of an option: PIP_INDEX_URL, UV_INDEX_URL."""
    return f"{program}_{option.upper().replace('-', '_')}"


def run(
    command: "list[str]", environment: "dict[str, str] | None" = None, text: "str | None" = None
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


def run_or_exit(
    what: str, command: "list[str]", environment: "dict[str, str] | None" = None
) -> str:
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
