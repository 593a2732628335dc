"""Whether a model was made from the current parameters, training table and code."""

from collections.abc import Mapping
from typing import Any


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
