"""`muster certs`: a development authority, and what it issues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shlex import quote

from muster.cli import exits
from muster.cli.exits import Trouble
from muster.runtime.config import ConfigError
from muster.runtime.identity.authority import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    Authority,
    address_name,
    has_authority,
    make_authority,
    open_authority,
)
from muster.runtime.identity.spiffe import is_segment, service_id, tenant_id
from muster.runtime.principal import is_tenant

# Where services of one machine are dialled.
HOSTS_DEFAULT = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class CertOptions:
    """What is to be made. With none of the names, one of each kind is."""

    folder: Path
    domain: str
    tenant: str
    hosts: Sequence[str] = ()
    services: Sequence[str] = ()
    agents: Sequence[str] = ()
    clients: Sequence[str] = ()
    operators: Sequence[str] = ()
    days: float = LEAF_DAYS
    force: bool = False


@dataclass(frozen=True)
class _Leaf:
    kind: str
    name: str
    uri: str
    file: str
    addresses: Sequence[str] = ()


def certs(options: CertOptions) -> int:
    """Makes the authority where there is none, then certificates; says what to set."""
    folder = options.folder
    try:
        _require_names(options)
        known = has_authority(folder)
        authority = open_authority(folder) if known else make_authority(folder, options.domain)
        leaves = list(_leaves(options, authority.domain))
        _require_room(authority, leaves, force=options.force)
        made = [(leaf, _issue(authority, leaf, options)) for leaf in leaves]
    except ConfigError as error:
        raise Trouble(str(error), exits.USAGE) from None
    if known:
        print(f"Used the authority in {folder}, of trust domain {authority.domain}.")
    else:
        print(
            f"Made an authority in {folder}, of trust domain {authority.domain}, good for "
            f"{AUTHORITY_DAYS} days.\n"
            f"For development: whoever reads {folder}/ca.key can be anybody."
        )
    for leaf, (cert, key) in made:
        print(f"\n{leaf.kind} {leaf.name}: {leaf.uri}, good for {options.days:g} days. Set:")
        for name, path in (("CA", authority.path), ("CERT", cert), ("KEY", key)):
            print(f"  export MUSTER_TLS_{name}={quote(str(path))}")
    print("\nFor others again, before they expire: the same command with --force. Who runs already")
    print("takes them up by itself. Then, with the settings of a service: muster up")
    return exits.OK


def _leaves(options: CertOptions, domain: str) -> Iterator[_Leaf]:
    tenant = options.tenant
    hosts = tuple(dict.fromkeys((*HOSTS_DEFAULT, *options.hosts)))
    named = (options.services, options.agents, options.clients, options.operators)
    defaults = [("mesh",), ("agent",), ("client",), ("operator",)] if not any(named) else named
    for kind, names in zip(("service", "agent", "client", "operator"), defaults, strict=True):
        for name in names:
            if kind == "service":
                yield _Leaf(kind, name, service_id(domain, name), f"service.{name}", hosts)
            else:
                uri = tenant_id(domain, tenant, kind, name)
                yield _Leaf(kind, name, uri, f"{kind}.{tenant}.{name}")


def _require_names(options: CertOptions) -> None:
    if not is_tenant(options.tenant):
        raise ConfigError(
            "a tenant has 1 to 64 of a-z, 0-9, _ and -, with a letter or digit at both ends"
        )
    named = (options.services, options.agents, options.clients, options.operators)
    for name in chain(*named):
        if not is_segment(name):
            raise ConfigError(f"{name!r} is no name: 1 to 100 of letters, digits and ._-")
    for host in options.hosts:
        address_name(host)


def _require_room(authority: Authority, leaves: Sequence[_Leaf], *, force: bool) -> None:
    """All or nothing: half of what was asked for would be a puzzle."""
    for leaf in leaves:
        path = authority.certificate_path(leaf.file)
        if not force and (path.exists() or path.with_suffix(".key").exists()):
            raise ConfigError(f"{path} is there already; keep it, or replace it with --force")


def _issue(authority: Authority, leaf: _Leaf, options: CertOptions) -> tuple[Path, Path]:
    return authority.issue(
        leaf.file, leaf.uri, leaf.addresses, days=options.days, force=options.force
    )
