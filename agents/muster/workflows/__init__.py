"""Four workflows that come with Muster, with their agents: content, analysis, site, monitoring.

    muster workflow run content

Each is a folder: the definition (`workflow.yaml`, and those of its children), the agents that its
steps ask for (`agents.py`), what they compute, as modules that know of no mesh, and a fleet that is
large enough (`fleet.yaml`). All that computes is a sync capability, so it runs in worker processes;
every step may run twice.

Nothing of a template is imported before it is asked for: they need the libraries of
`muster-mesh[examples]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

HOME: Final = Path(__file__).parent
EXTRA: Final = "muster-mesh[examples]"


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody starts a workflow: in which folder, and beside which mesh (host:port)."""

    folder: Path
    grpc: tuple[str, ...] = ()
    http: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """A workflow that comes with Muster.

    `artefacts` are the files that a run leaves in its `out_dir`; the first is what a person opens.
    """

    name: str
    title: str
    children: tuple[str, ...]
    artefacts: tuple[str, ...]
    needs: tuple[str, ...]
    inputs: Callable[[Place], dict[str, Any]] = field(repr=False)

    @property
    def definition(self) -> Path:
        """The workflow's definition."""
        return HOME / self.name / "workflow.yaml"

    @property
    def definitions(self) -> tuple[Path, ...]:
        """All definitions, in the order in which they can be registered: children come first."""
        return (*(HOME / self.name / f"{child}.yaml" for child in self.children), self.definition)

    @property
    def agents(self) -> str:
        """The module of its agents."""
        return f"{__name__}.{self.name}.agents"

    @property
    def fleet(self) -> Path:
        """As many agents as it needs, as `muster up --fleet` takes them."""
        return HOME / self.name / "fleet.yaml"

    def missing(self) -> list[str]:
        """The libraries that it needs and that are not installed; `EXTRA` brings them."""
        return [name for name in self.needs if find_spec(name) is None]

    def default_input(self, out_dir: Path, place: Place) -> dict[str, Any]:
        """What a run is given that was given nothing: it writes into `out_dir`."""
        return {"out_dir": str(out_dir.expanduser().absolute()), **self.inputs(place)}


def _documentation(place: Place) -> dict[str, Any]:
    """Muster's own folder, or the one that somebody is in, if there is Markdown in it."""
    own = HOME.parents[2]
    if (own / "README.md").is_file() and (own / "pyproject.toml").is_file():
        return {"folder": str(own)}
    return {"folder": str(place.folder.absolute())} if any(place.folder.glob("*.md")) else {}


def _mesh(place: Place) -> dict[str, Any]:
    addresses = {"grpc": list(place.grpc), "http": list(place.http)}
    return {name: found for name, found in addresses.items() if found}


TEMPLATES: Final[dict[str, Template]] = {
    template.name: template
    for template in (
        Template(
            name="content",
            title="Articles from source texts, reviewed by measured criteria",
            children=("item",),
            artefacts=("index.html", "articles", "sources"),
            needs=("jinja2", "pyphen", "rustworkx", "sentencex", "snowballstemmer"),
            inputs=lambda _place: {"count": 100},
        ),
        Template(
            name="analysis",
            title="A report with charts on any CSV file",
            children=(),
            artefacts=("index.html", "findings.json"),
            needs=("jinja2", "matplotlib", "palmerpenguins", "pandas"),
            inputs=lambda _place: {},
        ),
        Template(
            name="site",
            title="A site from a folder of Markdown, with its links checked",
            children=(),
            artefacts=("index.html", "links.json", "search.js"),
            needs=("jinja2", "markdown_it", "mdit_py_plugins", "pygments"),
            inputs=_documentation,
        ),
        Template(
            name="monitoring",
            title="What is up, and what has changed since the last look",
            children=(),
            artefacts=("index.html", "history"),
            needs=("grpc_health", "jinja2", "urllib3"),
            inputs=_mesh,
        ),
    )
}
