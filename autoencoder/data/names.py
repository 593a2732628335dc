"""Names of files: those of systems and editors are no data."""

import re
from pathlib import Path

# Hidden files; indexes, thumbnails and recycle bins of Windows, macOS and network storage; backups
# of editors; unfinished downloads. In any case, as whole names.
_LITTER = re.compile(
    r"\..*|thumbs\.db.*|ehthumbs.*\.db|desktop\.ini|__macosx|__pycache__|icon[\r\uf00d]"
    r"|@(ea|__|tmp|recycle|recently).*|#(recycle|snapshot)|\$recycle.*|recycler|lost\+found"
    r"|system volume information|network trash folder|temporary items|.*zone\.identifier"
    r"|~\$.*|.+~|.*\.(bak|tmp|swp|lnk|url|part|partial|crdownload)",
    re.IGNORECASE | re.DOTALL,
)


def is_visible(path: Path, root: Path) -> bool:
    """Tell whether a path below `root` is the user's, not one of a system or editor."""
    return not any(map(_LITTER.fullmatch, path.relative_to(root).parts))
