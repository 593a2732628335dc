"""What no stage does: load pickles, run a text as code or in a shell, unpack whole archives."""

import ast
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from autoencoder.params import _Loader

MODULES = {"pickle", "dill", "joblib", "marshal", "shelve", "importlib", "tarfile"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *("torch.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "os.system", "os.popen"),
    *("shutil.unpack_archive", "archive.extractall"),
}
KEYWORDS = {"shell", "allow_pickle", "weights_only"}


def dangers(code: str) -> list[str]:
    """What a module does that no stage may do."""
    found = []
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names):
                found += [a.name for a in names if a.name.partition(".")[0] in MODULES]
            case ast.ImportFrom(module, names):
                found += [
                    f"{module}.{a.name}"
                    for a in names
                    if (module or "").partition(".")[0] in MODULES
                    or f"{module}.{a.name}" in ATTRIBUTES
                ]
            case ast.Call(ast.Name(name)) if name in BUILTINS:
                found.append(name)
            case ast.Attribute() if ast.unparse(node) in ATTRIBUTES:
                found.append(ast.unparse(node))
            case ast.Call(ast.Attribute(ast.Name("yaml"), "load"), arguments):
                if [ast.unparse(argument) for argument in arguments[1:]] != ["_Loader"]:
                    found.append("yaml.load")
            case ast.keyword(str(name)) if name in KEYWORDS:
                found.append(name)
    return found


@pytest.mark.parametrize(
    "path", sorted((ROOT / "stages").rglob("*.py")), ids=lambda path: path.name
)
def test_no_module_does_what_none_may_do(path: Path) -> None:
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        *("import pickle", "from pickle import loads", "import importlib.util"),
        *(
            "torch.load(path)",
            "from torch import load",
            "np.load(path)",
            "np.save(f, allow_pickle=x)",
        ),
        *("pd.read_pickle(path)", "yaml.load(text)", "yaml.load(text, yaml.Loader)"),
        *("yaml.unsafe_load(text)", "subprocess.run(text, shell=True)", "os.system(text)"),
        *("eval(text)", "exec(text)", "__import__(name)", "archive.extractall(folder)"),
    ],
)
def test_each_danger_is_seen(code: str) -> None:
    assert dangers(code)


def test_the_yaml_loader_makes_plain_values_only() -> None:
    assert issubclass(_Loader, yaml.SafeLoader)


def test_the_launcher_of_train_alone_reaches_a_shell() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert text.count("${") == 1
    assert yaml.safe_load(text)["stages"]["train"]["cmd"].startswith("${launcher} stages.train ")
