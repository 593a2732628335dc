"""Digests of this project's modules, which do not depend on comments, docstrings or blank lines."""

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


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
    """Compute the SHA-256 of a module's code, in UTF-8; the same with every version of Python.

    Comments, docstrings and blank lines do not count: a program that differs in them alone computes
    the same. What Python cannot parse, such as a file that is being edited, counts as a whole.
    """
    with suppress(SyntaxError, ValueError, tokenize.TokenError):
        content = _without_comments(content.decode()).encode()
    return hashlib.sha256(content).hexdigest()


def _without_comments(source: str) -> str:
    """Cut comments, docstrings and blank lines out of a module."""
    docstrings = set(_docstring_positions(source))
    lines = source.split("\n")
    ends: set[int] = set()  # rows whose end is not inside a string
    # Backwards, because a cut moves what follows it.
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        (row, column), (end_row, end_column) = token.start, token.end
        if token.type == tokenize.COMMENT or token.start in docstrings:
            rest = lines[end_row - 1][end_column:]
            lines[row - 1 : end_row] = [lines[row - 1][:column] + rest, *[""] * (end_row - row)]
            ends.update(range(row, end_row + 1))
        elif token.type == tokenize.NL:
            ends.add(row)
    for row in ends:
        lines[row - 1] = lines[row - 1].rstrip()
    kept = (line for row, line in enumerate(lines, start=1) if line or row not in ends)
    return "\n".join(kept)


def _docstring_positions(source: str) -> Iterator[tuple[int, int]]:
    """Yield where each docstring starts: row, from 1, and column, from 0."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            yield node.body[0].lineno, node.body[0].col_offset
