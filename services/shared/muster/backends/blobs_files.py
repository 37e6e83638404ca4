"""Blobs as files: `<tenant>/<first two digits>/<sha256>`, and `<tenant>/partial/<sha256>`.

A blob appears under its name in one step, whole and durable: written beside, digest compared,
fsync, rename, fsync of the folder. So whatever has a name was complete, after any crash. What a
crash leaves of an upload is compared by its digest in the end, like everything else.

One process owns the folder. The event loop never waits for the disk: files are worked on in
threads, by one job at a time for each upload.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

from muster.backends.base import (
    BlobStat,
    blob_arrived,
    blob_ends,
    blob_mismatch,
    blob_superseded,
    blob_unknown,
    require_blob_name,
    require_blob_size,
    too_many_uploads,
    wrong_blob_size,
)
from muster.model import limits
from muster.model.errors import MusterError, ResourceExhausted

_T = TypeVar("_T")

_THREADS = 4
_READ_BYTES = 1024 * 1024


class FileBlobs:
    """See `muster.backends.base.Blobs`. `close` it when nothing uses it any more."""

    def __init__(self, root: Path) -> None:
        """`root` is made where it is missing; nothing else may be in it."""
        self._root = root
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="muster-blobs")
        self._uploads: dict[Path, _Upload] = {}
        _make_folder(root)

    def close(self) -> None:
        """Waits for what is being written, and ends the threads. Safe to call twice."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def stat(self, tenant: str, sha256: str) -> BlobStat:
        return await self._in_thread(_stat, *self._paths(tenant, sha256))

    async def put(
        self,
        tenant: str,
        sha256: str,
        size_bytes: int,
        offset: int,
        chunks: AsyncIterable[bytes],
    ) -> None:
        whole, partial = self._paths(tenant, sha256)
        require_blob_size(size_bytes)
        upload = self._begin(partial)
        try:
            await upload.take_over()
            there = await self._in_thread(_stat, whole, partial)
            if there.size_bytes is not None:
                if there.size_bytes != size_bytes:
                    raise blob_mismatch()
                return
            await self._in_thread(_make_room, partial.parent, self._busy(partial.parent))
            await upload.run(self._threads, lambda: upload.open(offset))
            async for chunk in chunks:
                if upload.received + len(chunk) > size_bytes:
                    raise wrong_blob_size("more", size_bytes)
                await upload.run(self._threads, functools.partial(upload.write, chunk))
            if upload.received < size_bytes:
                raise wrong_blob_size("less", size_bytes)
            await upload.run(self._threads, lambda: upload.finish(whole, sha256))
        finally:
            await self._end(partial, upload)

    async def get(
        self, tenant: str, sha256: str, offset: int = 0, length: int = 0
    ) -> AsyncIterator[bytes]:
        whole, _ = self._paths(tenant, sha256)
        with await self._in_thread(_open_whole, whole) as file:
            size = await self._in_thread(lambda: os.fstat(file.fileno()).st_size)
            if offset > size:
                raise blob_ends(size)
            end = min(size, offset + length) if length else size
            while offset < end:
                wanted = min(limits.BLOB_CHUNK_BYTES_MAX, end - offset)
                chunk = await self._in_thread(os.pread, file.fileno(), wanted, offset)
                if not chunk:
                    raise MusterError("the blob has been damaged", reason="DIGEST_MISMATCH")
                offset += len(chunk)
                yield chunk

    def _begin(self, partial: Path) -> _Upload:
        before = self._uploads.get(partial)
        if before is None and len(self._uploads) >= limits.BLOB_UPLOADS_MAX:
            raise too_many_uploads()
        upload = self._uploads[partial] = _Upload(partial, before)
        return upload

    def _busy(self, folder: Path) -> frozenset[str]:
        return frozenset(each.name for each in self._uploads if each.parent == folder)

    async def _end(self, partial: Path, upload: _Upload) -> None:
        await upload.stop()
        if self._uploads.get(partial) is upload:
            del self._uploads[partial]

    def _paths(self, tenant: str, sha256: str) -> tuple[Path, Path]:
        require_blob_name(tenant, sha256)
        folder = self._root / tenant
        return folder / sha256[:2] / sha256, folder / "partial" / sha256

    async def _in_thread(self, job: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.wrap_future(self._threads.submit(job, *arguments))


class _Upload:
    """One upload that is under way. `open`, `write` and `finish` run in threads, one at a time."""

    def __init__(self, partial: Path, before: _Upload | None) -> None:
        self.received = 0
        # The one it takes over from; stopping this one stops it too.
        self._before = before
        self._partial = partial
        self._file: int | None = None
        self._digest = hashlib.sha256()
        self._job: Future[None] | None = None
        self._stopped = False

    async def take_over(self) -> None:
        """Returns when no earlier upload of the same blob does anything any more."""
        if self._before is not None:
            await self._before.stop()

    async def run(self, threads: ThreadPoolExecutor, job: Callable[[], None]) -> None:
        """Runs a job, unless a newer upload has taken over."""
        if self._stopped:
            raise blob_superseded()
        self._job = threads.submit(_with_disk_errors, job)
        await asyncio.wrap_future(self._job)

    async def stop(self) -> None:
        """No job starts from now on, and none runs when it returns."""
        self._stopped = True
        if self._before is not None:
            await self._before.stop()
            self._before = None
        if self._job is not None and not self._job.done():
            # A cancelled caller does not end a job that a thread has begun.
            job = asyncio.wrap_future(self._job)
            await asyncio.wait({job})
            if not job.cancelled():
                job.exception()  # its own caller, if it still waits, is told
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def open(self, offset: int) -> None:
        """Keeps the first `offset` bytes of what has arrived, and goes on behind them."""
        _make_folder(self._partial.parent)
        self._file = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o600)
        there = os.fstat(self._file).st_size
        if offset > there:
            raise blob_arrived(there)
        os.ftruncate(self._file, offset)
        while self.received < offset:
            data = os.pread(self._file, min(_READ_BYTES, offset - self.received), self.received)
            self._digest.update(data)
            self.received += len(data)

    def write(self, data: bytes) -> None:
        """Appends."""
        assert self._file is not None
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, self.received)
            self._digest.update(view[:written])
            self.received += written
            view = view[written:]

    def finish(self, whole: Path, sha256: str) -> None:
        """Compares the digest, and gives the content its name, durably."""
        assert self._file is not None
        if self._digest.hexdigest() != sha256:
            self._partial.unlink()
            raise blob_mismatch()
        os.fsync(self._file)
        _make_folder(whole.parent)
        self._partial.rename(whole)
        _sync_folder(whole.parent)


def _stat(whole: Path, partial: Path) -> BlobStat:
    try:
        return BlobStat(whole.stat().st_size, 0)
    except FileNotFoundError:
        pass
    try:
        return BlobStat(None, partial.stat().st_size)
    except FileNotFoundError:
        return BlobStat(None, 0)


def _open_whole(whole: Path) -> FileIO:
    try:
        return whole.open("rb", buffering=0)
    except FileNotFoundError:
        raise blob_unknown() from None


def _make_room(folder: Path, busy: frozenset[str]) -> None:
    """Drops the oldest unfinished uploads of a tenant beyond what is kept of them."""
    if not folder.is_dir():
        return
    idle = [each for each in folder.iterdir() if each.name not in busy]
    excess = len(idle) - limits.BLOB_PARTIALS_MAX
    if excess > 0:
        idle.sort(key=lambda path: path.stat().st_mtime)
        for path in idle[:excess]:
            path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Makes a folder and what is above it; durable, as its name is an entry of the one above."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _with_disk_errors(job: Callable[[], None]) -> None:
    try:
        job()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted("there is no room left to keep blobs") from None
        raise
