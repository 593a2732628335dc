"""What a program computes from, and whether that is still the same when it ends.

DVC records parameters, files and code as they are when a stage ends. A stage that computed with
others must fail instead, or dvc.lock would vouch for a run that never happened.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoencoder.base.errors import UserError, listed
from autoencoder.base.modules import loaded_modules
from autoencoder.base.params import FILE, Params, read_params

# Size, time of the last change and inode of a file.
Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a program when it started.

    `files` has the signature of each regular file at or below `paths`; `code` has the digest of
    each loaded module of autoencoder and stages, by relative path.
    """

    params: Params
    paths: tuple[Path, ...]
    files: dict[str, Signature]
    code: dict[str, str]

    @classmethod
    def read(cls, paths: Iterable[Path], uses: Sequence[str]) -> "Inputs":
        """Record the current inputs; the paths may be missing.

        `uses` are the names of the parameters; without any, params.yaml is not needed. Raises
        UserError if it is not valid, and OSError if it cannot be read.
        """
        paths = tuple(paths)
        return cls(
            read_params(uses) if uses else Params.model_construct(),
            paths,
            {file: signature for path in paths for file, signature in _walk(path)},
            loaded_modules(),
        )

    def check_unchanged(self) -> None:
        """Raise UserError if the inputs are no longer what they were."""
        before = self.params.model_dump()
        now = Inputs.read(self.paths, list(before))
        changed = [
            f"{FILE}: {name} is {value!r}, was {before[name]!r}"
            for name, value in now.params.model_dump().items()
            if value != before[name]
        ]
        changed += [
            f"{file} has changed"
            for file in self.files | now.files
            if self.files.get(file) != now.files.get(file)
        ]
        changed += [
            f"{file} has changed"
            for file, digest in self.code.items()
            if digest != now.code.get(file)
        ]
        if changed:
            raise UserError(
                f"{listed(changed, 3, '; ')}, so the result would not match its inputs; "
                "run it again, or undo the change and then run it again to keep its progress"
            )


def _walk(path: Path) -> Iterator[tuple[str, Signature]]:
    """Yield the name of each regular file at or below a path, with its signature."""
    # Not as paths, which take several times the memory: there may be 70,000 pictures.
    inside = (f"{root}/{name}" for root, _, names in os.walk(path) for name in names)
    for name in inside if path.is_dir() else [str(path)]:
        file = Path(name)
        if file.is_file():
            status = file.stat()
            yield name, (status.st_size, status.st_mtime_ns, status.st_ino)
