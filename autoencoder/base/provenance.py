"""What a model was made from: digests of the code, and how two records of all inputs differ.

The digests do not depend on comments, docstrings or layout.
"""

import ast
import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def loaded_modules() -> dict[str, str]:
    """Compute the digest of each loaded module of autoencoder and stages, by relative path."""
    root = Path(__file__).parents[2]
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    files = {
        Path(spec.origin)
        for spec in specs
        if spec and spec.origin and spec.name.partition(".")[0] in ("autoencoder", "stages")
    }
    return {
        file.relative_to(root).as_posix(): module_digest(file.read_bytes())
        for file in sorted(files)
    }


def module_digest(content: bytes) -> str:
    """Compute the SHA-256 of a module's code; the same with every version of Python.

    Only its syntax tree counts, without docstrings: a program that differs in comments and layout
    alone computes the same. What Python cannot parse, such as a file that is being edited, counts
    as a whole.
    """
    with suppress(SyntaxError, ValueError, RecursionError):
        content = _describe(ast.parse(content)).encode()
    return hashlib.sha256(content).hexdigest()


def _describe(node: object) -> str:
    """Write a part of a syntax tree as text, much as `ast.dump` does in some version of Python."""
    match node:
        case list():
            return f"[{''.join(map(_describe, node))}]"
        case ast.Expr(ast.Constant(str())):  # a docstring
            return ""
        case ast.JoinedStr(values):  # Python 3.12 adds empty texts
            texts = (value for value in values if getattr(value, "value", None) != "")
            return f"f{_describe(list(texts))}"
        case ast.AST():
            # Empty fields are left out: some versions of Python do not have them.
            fields = (
                (key, value) for key, value in ast.iter_fields(node) if value not in (None, [])
            )
            described = (f"{key}={_describe(value)} " for key, value in fields)
            return f"{type(node).__name__}({''.join(described)})"
    return repr(node)


def differences(
    lineage: Mapping[str, Any],
    parameters: Mapping[str, Any],
    train_md5: str,
    code: Mapping[str, str],
    **environment: object,
) -> list[str]:
    """Describe where a lineage, as `stages.train` records it, differs from what is given.

    `parameters` and `code`, the digests of modules by relative path, may have more entries than are
    recorded. Returns phrases such as ``z_size was 16, is 32``.
    """
    recorded = lineage.get("parameters", {})
    found = [
        f"{name} was {recorded[name]!r}, is {parameters.get(name)!r}"
        for name in recorded
        if recorded[name] != parameters.get(name)
    ]
    if lineage.get("train_md5") != train_md5:
        found.append("the training table was different")
    files = lineage.get("code", {})
    found += [f"{name} was different" for name in files if files[name] != code.get(name)]
    return found + [
        f"{name} was {lineage.get(name)}, is {value}"
        for name, value in environment.items()
        if lineage.get(name) != value
    ]
