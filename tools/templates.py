"""Pages made from templates."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from autoencoder.base.files import atomic_write


def write_page(
    path: Path,
    template: Path,
    variables: Mapping[str, Any],
    escape: Callable[[object], object] = lambda value: value,
) -> None:
    """Write a page. HTML is escaped, anything else by `escape`; None is shown as a dash.

    A missing variable is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "—" if value is None else escape(value),
    )
    environment.filters["number"] = lambda value, form: None if value is None else form % value
    page = environment.get_template(template.name).render(variables)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
