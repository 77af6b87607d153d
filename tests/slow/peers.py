"""Clients that read at a given rate, and compare every byte."""

import contextlib
import os
import select
import struct
import threading
import time

from links import Failed

CYCLE = bytes(range(ord("!"), ord("!") + 89))
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
# Nothing comes for so long, of a server that is to send: more than any pause that a scenario makes.
SILENCE = 60


def payload(number, size):
    """What the server sends as its message of that number."""
    start = number % len(CYCLE)
    return (CYCLE * (size // len(CYCLE) + 2))[start : start + size]


class Pace:
    """At most `size` bytes are read each `interval` seconds, after `at_once` bytes without a limit."""

    def __init__(self, size=65536, interval=0.0, at_once=0):
        self.size, self.interval, self.at_once = size, interval, at_once
        self.left, self.next = size, 0.0

    def room(self):
        """Waits until something may be read, and says how much."""
        if self.at_once > 0:
            return min(self.at_once, 65536)
        if self.left == 0:
            time.sleep(max(0, self.next - time.monotonic()))
            self.left = self.size
        if self.left == self.size:
            self.next = time.monotonic() + self.interval
        return self.left

    def took(self, count):
        if self.at_once > 0:
            self.at_once -= count
        else:
            self.left -= count


class Peer:
    """A connection as a stream of bytes."""

    def __init__(self, connection, pace=None):
        self.connection, self.pace = connection, pace or Pace()
        self.buffer = bytearray()
        self.connection.settimeout(SILENCE)

    def write(self, data):
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Failed(f"could not send: {error}") from None

    def fill(self):
        """Reads once; False at the end."""
        try:
            data = self.connection.recv(self.pace.room())
        except TimeoutError:
            raise Failed(f"nothing came for {SILENCE} s, {self.state()}") from None
        except OSError as error:
            raise Failed(f"{error.strerror}, {self.state()}") from None
        self.pace.took(len(data))
        self.buffer += data
        return bool(data)

    def state(self):
        return f"after {len(self.buffer)} bytes of what was expected"

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise Failed(f"the end, {self.state()}: {count} bytes")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def until(self, mark):
        start = 0
        while (end := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark))
            if not self.fill():
                raise Failed(f"the end, {self.state()}: {mark}")
        return self.exactly(end + len(mark))[: -len(mark)]

    def ended(self):
        """The server ends the connection, and sends nothing before."""
        if self.buffer or self.fill():
            raise Failed(f"{bytes(self.buffer[:40])} instead of the end")
        self.connection.close()


class WebSocket(Peer):
    """Answers each ping when it has read it, or `pong_after` seconds later."""

    def __init__(self, connection, path="/peer", pace=None, pong_after=0, headers=("Host: server",)):
        super().__init__(connection, pace)
        self.pong_after, self.pings, self.is_closing = pong_after, 0, False
        self.sending = threading.Lock()
        self.write("\r\n".join([f"GET {path} HTTP/1.1", *headers, *HANDSHAKE, "", ""]).encode())
        head = self.until(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Failed(f"the handshake was answered with {head}")

    def send(self, opcode, data=b""):
        key = os.urandom(4)
        masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
        if len(data) < 126:
            length = bytes([0x80 | len(data)])
        else:
            length = struct.pack("!BH", 0xFE, len(data)) if len(data) < 1 << 16 else struct.pack("!BQ", 0xFF, len(data))
        with self.sending:
            self.is_closing |= opcode == CLOSE
            self.write(bytes([0x80 | opcode]) + length + key + masked)

    def script(self, *commands):
        """Has the server run commands."""
        self.send(TEXT, "; ".join(commands).encode())

    def frame(self):
        first, length = self.exactly(2)
        if first & 0xF0 != 0x80 or length & 0x80:
            raise Failed(f"a frame that begins with {first:#x} {length:#x}")
        if length == 126:
            (length,) = struct.unpack("!H", self.exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.exactly(8))
        return first & 0x0F, self.exactly(length)

    def next(self):
        """The next message or Close, after pings that are answered."""
        while True:
            opcode, data = self.frame()
            if opcode != PING:
                return opcode, data
            self.answer(data)

    def answer(self, ping):
        self.pings += 1
        if self.pong_after:
            timer = threading.Timer(self.pong_after, self.answer_late, [ping])
            timer.daemon = True
            timer.start()
        else:
            self.pong(ping)

    def answer_late(self, ping):
        # The scenario may have ended.
        with contextlib.suppress(Failed):
            self.pong(ping)

    def pong(self, ping):
        # Nothing is sent behind a Close.
        if not self.is_closing:
            self.send(PONG, ping)

    def text(self, expected):
        self.expect(TEXT, expected.encode())

    def messages(self, count, size):
        """The messages that `write`, `send`, `drain` and `broadcast` send."""
        for number in range(count):
            self.expect(BINARY, payload(number, size), f"message {number}")

    def expect(self, opcode, expected, what="a message"):
        got = self.next()
        if got == (opcode, expected):
            return
        if got[0] == CLOSE:
            raise Failed(f"a Close {got[1]} instead of {what}")
        raise Failed(f"{what} is wrong: opcode {got[0]}, {len(got[1])} bytes, {got[1][:40]}")

    def closed(self, code, reason=""):
        """The server sends a Close, which is answered, and ends the connection."""
        close = struct.pack("!H", code) + reason.encode()
        self.expect(CLOSE, close, "the Close")
        self.send(CLOSE, close)
        self.ended()

    def leave(self):
        """The client closes, and the server answers with the same code."""
        self.send(CLOSE, b"\x03\xe8bye")
        opcode, data = self.next()
        if (opcode, data[:2]) != (CLOSE, b"\x03\xe8"):
            raise Failed(f"opcode {opcode} {data[:40]} instead of the answer to a Close")
        self.ended()

    def idle(self, seconds):
        """Nothing but pings comes for so long."""
        end = time.monotonic() + seconds
        while self.buffer or select.select([self.connection], [], [], max(0, end - time.monotonic()))[0]:
            opcode, data = self.frame()
            if opcode != PING:
                raise Failed(f"opcode {opcode} instead of a ping")
            self.answer(data)


class Http(Peer):
    def get(self, path, *headers, version="1.1"):
        lines = [f"GET {path} HTTP/{version}", "Host: server", *headers]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def head(self, status):
        """The head of a response: its fields."""
        first, *lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        if first.split()[1] != str(status):
            raise Failed(f"{first!r} instead of {status}")
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    def body(self, fields):
        if "content-length" in fields:
            return self.exactly(int(fields["content-length"]))
        if fields.get("transfer-encoding") == "chunked":
            body = bytearray()
            while size := int(self.until(b"\r\n"), 16):
                body += self.exactly(size)
                self.exactly(2)
            self.exactly(2)
            return bytes(body)
        while self.fill():
            pass
        return self.exactly(len(self.buffer))

    def response(self, size, chunked=None):
        """A response with the payload of that size."""
        fields = self.head(200)
        if chunked is not None and chunked != ("transfer-encoding" in fields):
            raise Failed(f"the body is framed by {fields}")
        body = self.body(fields)
        if body != payload(0, size):
            raise Failed(f"a body of {len(body)} bytes that is not the one of {size}")
        return fields

    def answer(self, status, expected=None):
        body = self.body(self.head(status))
        if expected is not None and body != expected:
            raise Failed(f"{body} instead of {expected}")
