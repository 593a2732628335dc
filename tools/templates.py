"""Pages made from templates."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from autoencoder.base.files import atomic_write


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def write_page(
    path: Path,
    template: Path,
    variables: Mapping[str, Any],
    escape: Callable[[object], object] = lambda value: value,
) -> None:
    """Write a page. HTML is escaped, anything else by `escape`; None and NaN are shown as a dash.

    Bytes in JSON are base64. A missing variable is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "—" if value is None else escape(value),
    )
    environment.filters["base64"] = _base64
    environment.policies["json.dumps_kwargs"] = {"default": _base64, "sort_keys": True}
    environment.filters["number"] = lambda value, form: None if pd.isna(value) else form % value
    page = environment.get_template(template.name).render(variables)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
