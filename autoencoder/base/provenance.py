"""Whether a model was made from the current parameters, training table and code."""

from collections.abc import Mapping
from typing import Any


def differences(
    lineage: Mapping[str, Any],
    parameters: Mapping[str, Any],
    train_md5: str,
    code: Mapping[str, str],
) -> list[str]:
    """Describe where the lineage of a model differs from what is given.

    Parameters
    ----------
    lineage : mapping
        What `stages.train` recorded in the model, of which parameters, train_md5 and code are
        compared.
    parameters : mapping of str to value
        Values of at least the recorded parameters.
    train_md5 : str
        MD5 of the training table.
    code : mapping of str to str
        Digest of at least the recorded modules, by relative path, as `module_digest` computes it.

    Returns
    -------
    list of str
        Phrases such as ``z_size was 16, is 32``.
    """
    recorded = lineage.get("parameters", {})
    found = [
        f"{name} was {recorded.get(name)!r}, is {parameters.get(name)!r}"
        for name in recorded
        if recorded[name] != parameters.get(name)
    ]
    if lineage.get("train_md5") != train_md5:
        found.append("the training table was different")
    files = lineage.get("code", {})
    return found + [f"{name} was different" for name in files if files[name] != code.get(name)]
