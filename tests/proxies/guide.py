"""The configurations of docs/deployment.md."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Clients with which tests/slow/run also tests.
sys.path.append(str(ROOT / "tests" / "slow"))
from links import Failed

PAGE = ROOT / "docs" / "deployment.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def block(language, mark):
    """The only code block in this language that contains `mark`."""
    found = [text for name, text in BLOCKS if name == language and mark in text]
    if len(found) != 1:
        raise Failed(f"{PAGE.name} has {len(found)} blocks of {language} with {mark!r}, not one")
    return found[0]


def lines(language, mark):
    """The lines of a block that replaces others, without the end of its last line."""
    return block(language, mark).rstrip("\n")


def inline(line):
    """A line that the guide has within a sentence."""
    if f"`{line}`" not in TEXT:
        raise Failed(f"{PAGE.name} has no `{line}`")
    return line


def replace(text, changes):
    """Replaces parts of a configuration. Each part must be there."""
    for old, new in changes:
        if old not in text:
            raise Failed(f"the configuration has no {old!r}")
        text = text.replace(old, new)
    return text
