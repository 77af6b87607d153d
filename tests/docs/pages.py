"""Pages of Markdown: their blocks of code, headings and links."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```(.*)$")
NOTE = re.compile(r"^<!-- (.+) -->$")


class Block:
    """A block of code, and the comment before it."""

    def __init__(self, line, language, note):
        self.line, self.language, self.note, self.lines = line, language, note, []

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)


class Page:
    def __init__(self, path):
        self.path = path
        self.blocks, self.prose = [], []
        block, note = None, None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            fence = FENCE.match(line)
            if block and fence and not fence[2]:
                block = None
            elif block:
                block.lines.append(line)
            elif fence:
                block = Block(number, fence[2].split(",")[0], note)
                self.blocks.append(block)
            elif line:
                self.prose.append((number, line))
            comment = NOTE.match(line)
            note = comment[1] if comment else None

    @property
    def name(self):
        return str(self.path.relative_to(ROOT))

    def anchors(self):
        """The anchors that GitHub gives to the headings."""
        anchors = set()
        for _, line in self.prose:
            if heading := re.match(r"#{1,6} +(.*?) *#*$", line):
                text = re.sub(r"\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])?", r"\1", heading[1]).replace("`", "")
                slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
                number = 0
                while (anchor := f"{slug}-{number}" if number else slug) in anchors:
                    number += 1
                anchors.add(anchor)
        return anchors
