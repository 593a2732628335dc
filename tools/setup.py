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
CONTENTS = r"bin|include|lib|lib64|share|etc|man|CACHEDIR\.TAG|pyvenv\.cfg|\.(gitignore|lock|ready)"
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
        set_up(arguments.venv.resolve(), arguments.this_python)
    except OSError as error:
        sys.exit(f"set-up failed: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def set_up(venv: Path, this_python: bool) -> None:
    """Create or update the environment; the digest of the lock is recorded last."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    stamp = usable_stamp(venv, this_python)
    if stamp.endswith(digest):
        return
    if not stamp:
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
    stamp = usable_stamp(venv, this_python)
    if stamp.endswith(digest):
        return
    if not stamp:
        create(venv)
    print(f"installing {LOCK.name} into {venv}", flush=True)
    # If this fails, the environment can still be updated later.
    stamp = location_and_version(venv)
    (venv / STAMP).write_text(stamp)
    install(venv)
    what = f"dvc and torch cannot be imported from {venv}"
    run([f"{venv}/bin/python", "-I", "-c", "import dvc, torch"], what=what)
    (venv / STAMP).write_text(stamp + digest)


def location_and_version(venv: Path) -> str:
    """Return two lines, the second as the environment's interpreter says: 3.11 or the like."""
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    return f"{venv}\n{run([f'{venv}/bin/python', '-I', '-c', code])}"


def usable_stamp(venv: Path, this_python: bool) -> str:
    """Return what the last set-up recorded: location, Python and, if it succeeded, the lock.

    Nothing unless the environment was created here, and its Python is still the same and works.
    """
    try:
        stamp = (venv / STAMP).read_text()
        current = location_and_version(venv)
    except (OSError, ValueError):
        return ""
    wanted = "\n{}.{}\n".format(*sys.version_info) if this_python else ""
    return stamp if stamp.startswith(current) and current.endswith(wanted) else ""


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


def create(venv: Path) -> None:
    """Create an empty environment; delete the one that is there, but nothing else."""
    found = {path.name for path in venv.iterdir()}
    foreign = sorted(name for name in found if not re.fullmatch(CONTENTS, name))
    if found and ("pyvenv.cfg" not in found or foreign):
        what = f"contains {foreign[0]}" if foreign else "has no pyvenv.cfg"
        sys.exit(
            f"{venv} is not a virtual environment ({what}) and is left as it is; "
            "choose another directory with `make VENV=…`"
        )
    command = [sys.executable, "-I", "-m", "venv", "--clear", str(venv)]
    run(command, what=" ".join(command))


def install(venv: Path) -> None:
    """Install what the lock lists, and remove other packages."""
    python = f"{venv}/bin/python"
    pip = [python, "-I", "-m", "pip"]
    environment = download_environment(pip)
    hashed = [*pip, "install", "--require-hashes", "--no-deps"]
    text = LOCK.read_text()
    # uv, and what builds the source distributions: from the lock, so that they have hashes, too.
    first = "".join(re.findall(r"^(?:uv|setuptools)==.*\n(?: .*\n)*", text, re.MULTILINE))
    sync = [f"{venv}/bin/uv", "pip", "sync", "--no-config", "--require-hashes"]
    sync += ["--preview-features", "build-dependency-hashes", "--require-build-hashes"]
    sync += ["--build-constraints", str(LOCK), "--python", python, str(LOCK)]
    if environment.get("PIP_NO_INDEX"):
        sync.append("--no-index")
    try:
        run([*hashed, "--quiet", "--requirement", "/dev/stdin"], environment, first)
        status = subprocess.run(sync, env=environment).returncode
        if status == 0:
            return
        reason = f"exit status {status}"
    except OSError as error:
        reason = str(error)
    print(f"uv cannot install the packages ({reason}); using pip", flush=True)

    # The build dependency has been installed from its hash: no other one is downloaded.
    isolated = ["--use-pep517", "--no-build-isolation"]
    run([*hashed, *isolated, "--requirement", str(LOCK)], environment)
    listed = run([*pip, "list", "--format", "freeze"], environment)
    locked, found = (re.findall(r"^([\w.-]+)==", part, re.MULTILINE) for part in (text, listed))
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in found}
    unlocked = sorted(names.difference(locked, ["pip"]))
    if unlocked:
        run([*pip, "uninstall", "--yes", *unlocked], environment)


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
    listed = run([*pip, "config", "list"], readable, what="pip's configuration")
    settings = {}
    for section in ("global", "install", ":env:"):  # the later ones win
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", listed, re.MULTILINE):
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
    try:
        found = re.findall(r"^--(\S+) (.*)$", run(command), re.MULTILINE)
    except OSError:  # too old, for instance
        return settings
    for name, value in found:
        settings[name] = f"{settings.get(name, '')} {value}".strip()
    return settings


def variable_name(program: str, option: str) -> str:
    """Return the environment variable of an option: PIP_INDEX_URL, UV_INDEX_URL."""
    return f"{program}_{option.upper().replace('-', '_')}"


def run(
    command: "list[str]",
    environment: "dict[str, str] | None" = None,
    text: "str | None" = None,
    what: "str | None" = None,
) -> str:
    """Run a command and return what it prints.

    If it fails, raise an error of one line: `what` failed, and of the messages the one that says
    why.
    """
    result = subprocess.run(  # noqa: UP022 - as Python 3.6 has it
        command,
        env=environment,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,  # noqa: UP021
        check=False,
    )
    if result.returncode == 0:
        return result.stdout
    output = result.stderr.strip() or result.stdout.strip() or f"exit status {result.returncode}"
    lines = output.splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]  # pip's
    reason = (errors or lines)[-1]
    if "No space left" in output:
        reason += "; choose other disks with `make VENV=…` and TMPDIR"
    raise ChildProcessError(f"{what}: {reason}" if what else reason)


if __name__ == "__main__":
    main()
