"""One HTML file that needs nothing else, from a template of this package."""

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from qsmbids import __version__

__all__ = ["asset", "fill_template"]


def fill_template(name: str, *, style: str, script: str, **values: Any) -> str:
    """Return a page; whatever of its values is not :class:`Markup` is escaped.

    Parameters
    ----------
    name : str
        Of the template.
    style, script : str
        Our own, put into the page as they are. Its policy lets no other script run.
    **values
        What the template names, all of it.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    digest = hashlib.sha256(script.encode()).digest()
    return environment.from_string(asset(name)).render(
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        script_hash=base64.b64encode(digest).decode("ascii"),
        version=__version__,
        **values,
    )


def asset(name: str) -> str:
    """Return a template, style sheet or script."""
    return resources.files("qsmbids").joinpath("data", "report", name).read_text("utf-8")
