"""Terminals with `wscat`, as the tutorial shows them."""

import re
import select
import shlex
import socket
import struct
import time
from urllib.parse import urlsplit

from server import PATIENCE, Failed

# From tests/slow, which `server` has added to the path.
from peers import CLOSE, PING, PONG, TEXT, WebSocket

CONNECTED = "Connected (press CTRL+C to quit)"
DISCONNECTED = re.compile(r'Disconnected \(code: (\d+), reason: "(.*)"\)')


class Window:
    def __init__(self, text):
        command, connected, *self.lines = text.splitlines()
        self.url = shlex.split(command)[-1]
        if connected != CONNECTED:
            raise Failed(f"{connected!r} instead of {CONNECTED!r}")
        self.peer, self.seen, self.text = None, 1, text

    def connect(self):
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = socket.create_connection((parts.hostname, parts.port))
        self.peer = WebSocket(connection, path, headers=(f"Host: {parts.netloc}",))

    @property
    def next(self):
        return self.lines[0] if self.lines else ""

    @property
    def waits_for_ctrl_c(self):
        disconnected = DISCONNECTED.match(self.next)
        return bool(disconnected) and disconnected[1] == "1001"

    def step(self):
        """Does what the next line says. Returns whether that was possible."""
        line = self.next
        if line == "> ^C":
            self.peer.leave()
            self.peer = None
        elif line.startswith("> "):
            self.peer.send(TEXT, line[2:].encode())
        elif not line or not (self.peer.buffer or select.select([self.peer.connection], [], [], 0.02)[0]):
            return False
        elif line.startswith("< "):
            self.peer.text(line[2:])
        elif disconnected := DISCONNECTED.match(line):
            self.peer.closed(int(disconnected[1]), disconnected[2])
            self.peer = None
        else:
            raise Failed(f"{line!r} is neither sent nor received")
        self.seen += 1
        del self.lines[0]
        return True

    def ends(self):
        """Nothing has arrived that the page does not show."""
        if self.peer:
            self.peer.send(PING)
            opcode, data = self.peer.next()
            if opcode != PONG:
                raise Failed(f"the page does not show {data}, which {self.url} receives")
            self.peer.send(CLOSE, struct.pack("!H", 1000))
            self.peer.connection.close()


def play(windows, server):
    """Runs windows at the same time."""
    for window in windows:
        window.connect()
    deadline = time.monotonic() + PATIENCE
    while any(window.lines for window in windows):
        # A list, so that each window has its turn.
        if any([window.step() for window in windows]):
            continue
        if all(window.waits_for_ctrl_c for window in windows if window.lines):
            server.interrupt()
        if time.monotonic() > deadline:
            waiting = next(window for window in windows if window.lines)
            raise Failed(f"{waiting.url} has not received {waiting.next!r}")
    for window in windows:
        window.ends()
    if server.is_interrupted:
        server.ends()
