"""The tables of docs/limits.md have all options of the crate, with the defaults that the documentation of the API names."""

import re

from pages import ROOT, Page

PAGE = ROOT / "docs" / "limits.md"
SOURCES = ["src/websocket/options/mod.rs", "src/http/context/options.rs", "src/socket/options.rs"]
METHOD = re.compile(r"((?: *///.*\n)+)(?: *#\[.*\n)* *pub fn (\w+)(?:<[^(]*>)?\(\s*(?:mut )?self\b")
ROW = re.compile(r"\| `(\w+)` \| ([^|]*) \| ([^|]*) \|")


def check():
    """Returns what is wrong."""
    rows = [ROW.match(line) for _, line in Page(PAGE).prose]
    table = [(row[1], row[3].strip()) for row in rows if row]
    options = [option for source in SOURCES for option in options_of(ROOT / source)]
    failures = []
    for name, documented in options:
        if not any(name == other and agree(default, documented) for other, default in table):
            failures.append(f"docs/limits.md: `{name}` is not there, or does not have the default {documented!r}")
    names = {name for name, _ in options}
    failures += [f"docs/limits.md: there is no option `{name}`" for name, _ in table if name not in names]
    print(f"limits: {len(options)} options")
    return failures


def options_of(path):
    """The name of each option, and what its documentation says of the default."""
    for found in METHOD.finditer(path.read_text()):
        text = " ".join(line.strip().removeprefix("///").strip() for line in found[1].splitlines())
        default = re.search(r"\bDefault: (.*)", text)
        yield found[2], default[1] if default else ""


def agree(default, documented):
    """A closure has no default. Otherwise the table has the beginning of the text."""
    return bool(re.match(rf"{re.escape(default)}(?![\w ])", documented)) if documented else default == "none"
