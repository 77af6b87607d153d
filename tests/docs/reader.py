"""Follows docs/tutorial.md as a reader does.

The comment before a block says what to do with it:

* `file: PATH`: the block is this file.
* `append: PATH`: the block is added to the end of this file.
* `change: PATH`: the block, a diff, changes this file. Its lines without `+` are in the file once.
* `printed`: the server prints these lines.
* `skip`: only for readers.

Blocks without a comment:

* `sh`: commands. `cargo run` ends the server and starts it anew.
* `text` that begins with `$ npx wscat -c URL`: what a client sends (`>`) and receives (`<`). Blocks that follow each other
  are clients at the same time. All of them connect before the first one sends. With `Disconnected (code: 1001, …)` the
  reader presses Ctrl-C in the window of the server.
* other `text`: what the last command prints.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from pages import ROOT, Page
from server import Failed, Server
from window import Window, play

PAGE = ROOT / "docs" / "tutorial.md"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "docs"
# The port of the page, instead of which a free one is used.
PORT = "8000"
SETTINGS = {
    "CARGO_TARGET_DIR": str(TARGET),
    "CARGO_TERM_COLOR": "never",
    "CARGO_INCREMENTAL": "0",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "RUSTFLAGS": "-D warnings",
}


def follow():
    """Returns what is wrong, if anything is."""
    # Always the same folder, so that cargo finds again what it has built. It is outside of the repository, whose workspace
    # would include it.
    name = "react-websocket-tutorial-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    folder = pathlib.Path(tempfile.gettempdir()) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    (folder / "react-websocket").symlink_to(ROOT)
    start = time.monotonic()
    reader = Reader(folder)
    try:
        with contextlib.closing(reader):
            reader.read(Page(PAGE).blocks)
    except Failed as error:
        return [f"docs/tutorial.md:{reader.line}: {error}"]
    shutil.rmtree(folder)
    print(f"tutorial: {reader.seen} things are as the page says, {time.monotonic() - start:.0f} s")
    return []


class Reader:
    def __init__(self, folder):
        self.port = free_port()
        self.folder, self.environment = folder, {**os.environ, **SETTINGS}
        self.server, self.output, self.line, self.seen = None, "", 0, 0

    def read(self, blocks):
        windows = []
        for block in blocks:
            is_window = block.language == "text" and block.text.startswith("$ npx wscat")
            if windows and not is_window:
                self.play(windows)
                windows = []
            self.line = block.line
            text = block.text.replace(PORT, self.port)
            if is_window:
                windows.append(Window(text))
            else:
                self.do(block, text)
        if windows:
            self.play(windows)

    def do(self, block, text):
        action, _, path = (block.note or "").partition(": ")
        file = self.folder / path
        if action == "file":
            file.write_text(text)
        elif action == "append":
            file.write_text(file.read_text() + "\n" + text)
        elif action == "change":
            file.write_text(changed(file.read_text(), text))
        elif action == "printed":
            self.server.prints(text.splitlines())
            self.seen += 1
        elif block.language == "sh" and action != "skip":
            for command in text.splitlines():
                self.run(command)
        elif block.language == "text":
            printed = set(without_times(self.output).splitlines())
            if missing := [line for line in without_times(text).splitlines() if line not in printed]:
                raise Failed(f"{missing[0]!r} is not in {self.output!r}")
            self.seen += 1
        elif action != "skip":
            raise Failed(f"nothing says what the block of {block.language} is")

    def run(self, command):
        print(f"    {command}", flush=True)
        if command.startswith("cd "):
            self.folder /= command[3:]
        elif command == "cargo run":
            self.close()
            self.server = Server(self.folder, self.environment, self.port)
        else:
            process = subprocess.run(
                shlex.split(command), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
            )
            self.output = process.stdout
            if process.returncode != 0:
                raise Failed(f"{command}: {process.stderr}{process.stdout}")
            if command.startswith("cargo new"):
                # The versions that the repository is tested with.
                shutil.copy(ROOT / "Cargo.lock", self.folder / command.split()[-1])

    def play(self, windows):
        play(windows, self.server)
        self.seen += sum(window.seen for window in windows)

    def close(self):
        if self.server:
            self.server.end(signal.SIGKILL)
            self.server = None


def free_port():
    """A port below those that the system gives to clients, so that it stays free between two servers."""
    while True:
        port = random.randrange(10000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return str(port)


def without_times(text):
    return re.sub(r"\d+\.\d\ds", "0.00s", text)


def changed(text, diff):
    """Applies one change. Its lines that are not added have to be in the text, together and once."""
    lines = diff.splitlines()
    if bad := [line for line in lines if line and line[0] not in " +-"]:
        raise Failed(f"{bad[0]!r} is not a line of a diff")
    old = "".join(line[1:] + "\n" for line in lines if line[:1] != "+")
    new = "".join(line[1:] + "\n" for line in lines if line[:1] != "-")
    places = [found.start() for found in re.finditer(f"^{re.escape(old)}", text, re.MULTILINE)] if old else []
    if len(places) != 1:
        raise Failed(f"{len(places)} places have these lines:\n{old}")
    return text[: places[0]] + new + text[places[0] + len(old) :]
