"""Blocks of code on pages of the documentation, so that what stands there is what runs."""

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    number: int  # from 1, among those of its language on its page
    code: str
    name: str


def blocks(page: Path, language: str = "python") -> list[Block]:
    """All of one language."""
    found = [code for kind, code in _BLOCK.findall(page.read_text()) if kind == language]
    assert found, f"{page} has no block of {language}"
    return [Block(number, code, f"{page.stem}-{number}") for number, code in enumerate(found, 1)]
