"""The part of a contract's page that says what a person was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.cli import text
from muster.cli.inbox_words import at_the_deadline, example_of, shown_value, wanted
from muster.cli.terminal import out
from muster.wire.times import seconds_of_timestamp

if TYPE_CHECKING:
    from muster.v1.contract_pb2 import Contract


def show_questions(contract: Contract, now: float) -> None:
    """Every question with its answer, and how to answer the one that waits."""
    if not contract.questions:
        return
    out().print()
    out().print("questions", style="bold")
    for asked in contract.questions:
        question = asked.question
        out().print(f"  {text.printable(question.text)}", soft_wrap=True)
        if asked.HasField("answer"):
            by = asked.answer.principal or "nobody in time: the default"
            answer = f"{shown_value(asked.answer.value)}  (by {text.printable(by)})"
            out().print(f"    {answer}", style="green", soft_wrap=True)
    if not contract.HasField("question"):
        return
    question = contract.question
    out().print(f"    waits for: {wanted(question)}", style="magenta", soft_wrap=True)
    if question.HasField("deadline"):
        left = max(0.0, seconds_of_timestamp(question.deadline) - now)
        end = at_the_deadline(question, contract.request.deadline)
        when = f"in {text.duration(left)} {end}"
        out().print(f"    {text.printable(when)}", soft_wrap=True)
    hint = f"    answer with: muster answer {contract.id} {example_of(question)}"
    out().print(hint, style="bright_black", soft_wrap=True)
