"""What the templates' HTML pages share: one look in light and dark, and one way to be rendered.

A page is whole in itself: its style stands in it, and it loads nothing. Everything that is put into
a page is escaped, unless a renderer of ours made it.
"""

from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound

ROOT: Final = "muster.workflows"


class _Resources(BaseLoader):
    """Finds "content/index.html" where the package is installed, in a folder or elsewhere."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Any]:
        folder, _, name = template.rpartition("/")
        place = files(f"{ROOT}.{folder}").joinpath(f"{name}.j2")
        if not place.is_file():
            raise TemplateNotFound(template)
        return place.read_text(encoding="utf-8"), template, lambda: True


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=_Resources(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["style"] = _style
    return environment


@cache
def _style(*names: str) -> str:
    """The shared style and a page's own, as text for its <style>."""
    parts = ("pages/page.css", *names)
    return "\n".join(_read(part) for part in parts)


def _read(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return files(f"{ROOT}.{folder}").joinpath(file).read_text(encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """The page of a template, like "content/index.html"."""
    return _environment().get_template(template).render(values)
