"""The templates of the pages: HTML is escaped, and a missing variable is an error."""

from pathlib import Path

import jinja2


def environment(directory: Path) -> jinja2.Environment:
    """Return what loads the templates of a directory, those named .html with escaping."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(directory),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
