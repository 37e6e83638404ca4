"""What becomes of the word of a scheduler that was asked in another's stead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from muster.model.errors import Code, MusterError
from muster.scheduler.routing import relayed


class Broken:
    """A call that ends with an error."""

    def __init__(self, error: AioRpcError) -> None:
        self._error = error

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        raise self._error

    def cancel(self) -> None:
        pass


async def relaying(error: AioRpcError) -> MusterError:
    answers = relayed(cast(Any, Broken(error)))
    with pytest.raises(MusterError) as caught:
        await anext(answers)
    return caught.value


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
async def test_what_only_grpc_says_of_a_peer_is_worth_another_try(code: grpc.StatusCode) -> None:
    error = await relaying(AioRpcError(code, Metadata(), Metadata(), "Stream removed"))
    assert error.code is Code.UNAVAILABLE
    assert error.retry_after_seconds
