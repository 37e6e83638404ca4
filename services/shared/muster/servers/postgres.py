"""PostgreSQL, from the system's package.

Only its own clients get in: it listens on loopback, has no other socket, and asks for a password
(SCRAM) that is made once and kept beside the data, for its owner only. On a machine of many users
`trust` would give each of them the superuser, who runs programs. A Unix socket with `trust` was the
other way; it needs a folder with a short path that both users can enter.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muster.servers.launch import FOLDER_NAME
from muster.servers.server import (
    HOST,
    Server,
    ServerError,
    ServerMissing,
    User,
    command_of,
    make_folder,
    write_file,
)

NAME = "postgres"
PORTS = 1
ROLE = DATABASE = "muster"
INSTALL = "on Debian and Ubuntu: apt install postgresql"

# Where packages put versions side by side, beside PATH.
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_ACCOUNT = "postgres"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_INIT_SECONDS = 120.0
_CONNECT_SECONDS = 2.0
_NOT_NOW = b"\0C57P03\0"  # cannot_connect_now
_ERROR_BYTES_MAX = 4096

# What it must not do without, and what it is not to do. The defaults of its own configuration file
# are otherwise fine, and somebody may change them there.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "logging_collector": "off",
    "max_connections": "200",
}
_HBA = f"host all all {HOST}/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Programs:
    """One installation."""

    major: int
    folder: Path

    def path(self, name: str) -> str:
        """One of its programs."""
        return str(self.folder / name)


def find_programs(path: str | None = None) -> list[Programs]:
    """Every installation that can make and run a database, the newest first."""
    found = [*_folders_of_path(path), *_folders_of_packages()]
    programs: dict[Path, Programs] = {}
    for folder in found:
        major = _major_of(folder)
        if major is not None and folder not in programs:
            programs[folder] = Programs(major, folder)
    return sorted(programs.values(), key=lambda each: -each.major)


def _folders_of_path(path: str | None) -> Iterable[Path]:
    # Resolved: a link to `postgres` does not find what lies beside the program.
    found = shutil.which("postgres", path=path)
    return [Path(found).resolve().parent] if found else []


def _folders_of_packages() -> Iterable[Path]:
    for pattern in _FOLDERS:
        yield from Path("/").glob(pattern.removeprefix("/"))


def _major_of(folder: Path) -> int | None:
    if not os.access(folder / "initdb", os.X_OK):
        return None
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=_CONNECT_SECONDS * 5,
            check=True,
        )
        if match := _VERSION.search(said.stdout):
            return int(match[1])
    return None


def choose(programs: list[Programs], data: Path) -> Programs:
    """The newest for new data; for data that is there, the version that made it.

    Raises `ServerMissing`.
    """
    if not programs:
        message = f"PostgreSQL is not on this machine; {INSTALL}"
        raise ServerMissing(message)
    try:
        made_by = int((data / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return programs[0]
    for each in programs:
        if each.major == made_by:
            return each
    message = (
        f"the data in {data} was made by PostgreSQL {made_by}, which is not on this machine "
        f"(there is {', '.join(str(each.major) for each in programs)}); install "
        f"postgresql-{made_by}, or move the data with pg_upgrade"
    )
    raise ServerMissing(message)


def prepare(folder: Path, ports: Sequence[int], log: Path) -> Server:
    """Makes the data in `folder`, if there is none yet, and says how to run it at a port.

    The password is kept beside the folder. Takes a second or two the first time, and blocks.
    Raises `ServerError`.
    """
    (port,) = ports
    programs = choose(find_programs(), folder)
    user = _user()
    make_folder(folder.parent)
    secret = folder.with_name(f"{folder.name}.password")
    password = _read_secret(secret)
    if not (folder / "PG_VERSION").exists():
        password = password or _make_secret(secret)
        _make_data(programs, folder, user, password)
    elif password is None:
        password = _make_secret(secret)
        _single(programs, folder, user, _alter(password))
    return Server(
        name=NAME,
        words=(
            programs.path("postgres"),
            *("-D", _own_name(folder, user)),
            *("-c", f"port={port}"),
            *(word for key, value in _SETTINGS.items() for word in ("-c", f"{key}={value}")),
        ),
        folder=folder,
        ports=(port,),
        url=f"postgresql://{ROLE}:{password}@{HOST}:{port}/{DATABASE}",
        log=log,
        answers=answers,
        user=user,
        # "Fast": ends its clients' transactions and then itself. SIGTERM would wait for them.
        stop_signal=signal.SIGINT,
        dropped=("PG",),
    )


async def answers(address: str) -> bool:
    """Whether it would talk with a client: it asks for a password, or says why not.

    https://www.postgresql.org/docs/current/protocol-flow.html: "R" is a request to authenticate,
    "E" an error, with its code. Only one code says that it starts, recovers or ends just now.
    """
    host, _, port = address.rpartition(":")
    told = b"".join(f"{each}\0".encode() for each in ("user", ROLE, "database", "postgres", ""))
    startup = struct.pack(">ii", 8 + len(told), 3 << 16) + told
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(startup)
                kind, length = struct.unpack(">cI", await reader.readexactly(5))
                if kind != b"E":
                    return bool(kind == b"R")
                return _NOT_NOW not in await reader.readexactly(min(length - 4, _ERROR_BYTES_MAX))
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


# --- making the data ------------------------------------------------------------------------------


def _user() -> User | None:
    """Whom it runs as: us, unless we are root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        message = f"PostgreSQL does not run as root, and there is no user {_ACCOUNT!r}; {INSTALL}"
        raise ServerMissing(message) from None
    return User(entry.pw_uid, entry.pw_gid)


def _own_name(folder: Path, user: User | None) -> str:
    """How the server is told where its data is; by name, another user may not get there."""
    return FOLDER_NAME if user is not None and sys.platform == "linux" else str(folder)


def _read_secret(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="ascii").strip() or None
    return None


def _make_secret(path: Path) -> str:
    password = secrets.token_hex(16)
    write_file(path, f"{password}\n")
    return password


def _make_data(programs: Programs, folder: Path, user: User | None, password: str) -> None:
    """Makes it beside, and moves it into place when it is complete."""
    fresh = folder.with_name(f"{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        if user is not None:
            os.chown(fresh, user.uid, user.gid)
        words = (
            *("-D", _own_name(fresh, user), "--username", ROLE, "--auth", "reject"),
            # Text is compared byte by byte, as SQLite does it, and the same on every machine.
            *("--encoding", "UTF8", "--locale", "C"),
        )
        _run(programs.path("initdb"), words, fresh, user)
        hba = fresh / "pg_hba.conf"
        hba.write_text(_HBA, encoding="ascii")
        _single(programs, fresh, user, f"{_alter(password)}CREATE DATABASE {DATABASE}\n")
        with suppress(OSError):
            folder.rmdir()  # an empty one may be there
        fresh.rename(folder)
    except OSError as error:
        message = f"the data of PostgreSQL cannot be made in {folder}: {error.strerror}"
        raise ServerError(message) from None


def _alter(password: str) -> str:
    return f"ALTER ROLE {ROLE} PASSWORD '{password}'\n"


def _single(programs: Programs, folder: Path, user: User | None, statements: str) -> None:
    """Runs statements, one a line, without a server: nobody needs a way in yet."""
    words = ("--single", "-D", _own_name(folder, user), "postgres")
    _run(programs.path("postgres"), words, folder, user, statements)


def _run(
    program: str, words: Iterable[str], folder: Path, user: User | None, stdin: str = ""
) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    try:
        ended = subprocess.run(
            command_of([program, *words], user),
            input=stdin,
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=_INIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"{program} has not ended after {_INIT_SECONDS:.0f} s; is the disk busy?"
        raise ServerError(message) from None
    # Single mode goes on after an error, and ends with 0.
    wrong = [line for line in ended.stderr.splitlines() if " ERROR: " in line or "FATAL:" in line]
    if ended.returncode != 0 or wrong:
        said = "\n".join(wrong or ended.stderr.splitlines()[-5:])
        message = f"{Path(program).name} could not make its data in {folder}: {said}"
        raise ServerError(message)
