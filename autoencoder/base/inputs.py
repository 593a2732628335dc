"""What a program computes from, and whether that is still the same when it ends.

DVC records parameters, files and code as they are when a stage ends. A stage that computed with
others must fail instead, or dvc.lock would vouch for a run that never happened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoencoder.base.errors import UserError, listed
from autoencoder.base.files import walk_files
from autoencoder.base.params import FILE, Params, read_params
from autoencoder.base.provenance import loaded_modules

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

        Without names of parameters in `uses`, params.yaml is not needed. Raises UserError if it is
        not valid, and OSError if it cannot be read.
        """
        paths = tuple(paths)
        return cls(
            read_params(uses) if uses else Params.model_construct(),
            paths,
            # Not by paths, which take several times the memory: there may be 70,000 pictures.
            {
                str(file): _signature(file)
                for path in paths
                for file in walk_files(path)
                if file.is_file()
            },
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
        files = self.files.items() ^ now.files.items()
        code = self.code.items() - now.code.items()  # more modules may have been imported since
        changed += [f"{file} has changed" for file in sorted({file for file, _ in files | code})]
        if changed:
            raise UserError(
                f"{listed(changed, 3, '; ')}, so the result would not match its inputs; "
                "run it again, or undo the change and then run it again to keep its progress"
            )


def _signature(file: Path) -> Signature:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
