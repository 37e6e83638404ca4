"""Small sources that several tests of the audit use."""

from textwrap import dedent

from muster.audit.shapes import Batch, Source

# Eleven significant lines or more, none of them alike: long enough to be found as a copy.
COPIED = dedent(
    """
    def settle(account, entries, limit):
        total = 0
        for entry in entries:
            if entry.kind == "debit":
                total -= entry.amount
            elif entry.kind == "credit":
                total += entry.amount
            else:
                raise ValueError(entry.kind)
            account.remember(entry)
        if total > limit:
            account.warn(total)
        account.balance = account.balance + total
        return account.balance
    """
)
TANGLED = "def tangled(value):\n" + "".join(
    f"    if value == {number}:\n        return value + {number}\n" for number in range(14)
)
UNSAFE = "import subprocess\n\n\ndef call(command):\n    subprocess.run(command, shell=True)\n"
BROKEN = "def broken(:\n    pass\n"


def source(path: str, text: str = "") -> Source:
    return {"path": path, "text": text}


def batch(**texts: str) -> Batch:
    """Sources by name: batch(a="x = 1") holds a.py."""
    return {"sources": [source(f"{name}.py", text) for name, text in texts.items()]}


PROJECT: list[Source] = [
    source("shop/__init__.py", '"""A shop."""\n'),
    source("shop/ledger.py", '"""Books."""\nfrom shop import orders\n' + COPIED),
    source("shop/orders.py", "import os\nimport shop.ledger\n" + COPIED + UNSAFE),
    source("shop/rules.py", "from . import orders\n" + TANGLED),
    source("shop/broken.py", BROKEN),
    source("README.md", "# Shop\n\nSells things.\n"),
    source("LICENSE", "Apache License\nVersion 2.0, January 2004\n"),
    {"path": "shop/latin.py", "base64": "IyAtKi0gY29kaW5nOiBsYXRpbi0xIC0qLQp4ID0gJ+knCg=="},
]
