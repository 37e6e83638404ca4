"""How failures of runs and calls are written down in Temporal."""

from __future__ import annotations

from dataclasses import replace

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError


class _Plain(DefaultFailureConverter):
    """What a run or a scheduler says has a reason and a message; where in our code it was passed
    on tells nobody anything, and paths are nobody's business."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError):
            failure.stack_trace = ""


CONVERTER = replace(DataConverter.default, failure_converter_class=_Plain)
