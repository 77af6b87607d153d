"""Scenarios with slow, late and dead peers, and the expected results. Each scenario has its server."""

import concurrent.futures
import contextlib
import functools
import time

from links import Failed, LossyLink, UnixSocket
from peers import Http, Pace, WebSocket, payload

KB, MB = 1000, 1000 * 1000

# By name: a function of a `Setting`, which may return a remark about the result.
SCENARIOS = {}


def scenario(name, **arguments):
    """Registers a call of the function with these arguments as a scenario."""

    def register(function):
        assert name not in SCENARIOS, name
        SCENARIOS[name] = functools.partial(function, **arguments)
        return function

    return register


class Setting:
    """Makes what a scenario needs, and ends it afterwards."""

    def __init__(self, make_server, make_unix_server, make_link):
        self.make_server, self.make_unix_server, self.make_link = make_server, make_unix_server, make_link
        self.ends, self.servers = contextlib.ExitStack(), []

    def server(self, *options, unix=False):
        server = (self.make_unix_server if unix else self.make_server)(options)
        self.servers.append(server)
        self.ends.callback(server.end)
        return server

    def link(self, server, rate=None, unix=False):
        return self.closed_at_the_end(UnixSocket(server) if unix else self.make_link(server, rate))

    def lossy_link(self, server, rate, **arguments):
        return self.closed_at_the_end(LossyLink(server, rate, **arguments))

    def closed_at_the_end(self, thing):
        self.ends.callback(thing.close)
        return thing

    def connect(self, link, buffer=None):
        return self.closed_at_the_end(link.connect(buffer))

    def websocket(self, *options, rate=None, read=(), unix=False, buffer=None, **arguments):
        """A server and one WebSocket to it."""
        server = self.server(*options, unix=unix)
        link = self.link(server, rate, unix)
        return server, link, WebSocket(self.connect(link, buffer), pace=Pace(*read), **arguments)

    def http(self, *options, rate=None, read=(), unix=False, buffer=None):
        """A server and one client of it."""
        server = self.server(*options, unix=unix)
        link = self.link(server, rate, unix)
        return server, link, Http(self.connect(link, buffer), pace=Pace(*read))


def together(*calls):
    """Each in a thread of its own."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as threads:
        for future in [threads.submit(call) for call in calls]:
            future.result()


# The ways to be slow: a fast reader behind a slow link, and slow readers.


def slow_link(kilobytes):
    return {"rate": kilobytes * KB}


def slow_reader(kilobytes, interval=1):
    """Reads at this rate in kilobytes a second on average. Its receive buffer is small."""
    size = kilobytes * KB * interval
    return {"read": (size, interval), "buffer": size + 16 * KB}


def unix_reader(kilobytes):
    """A slow reader of a Unix socket."""
    return {"read": (kilobytes * KB, 1), "unix": True}


def buffering_reader(kilobytes, interval=1, at_once=0):
    """A slow reader whose system chooses the receive buffer, which may grow to megabytes.

    `at_once`: bytes that it reads as fast as they come, first.
    """
    return {"read": (kilobytes * KB * interval, interval, at_once)}


# ---------------------------------------------------------------------------------------------- bursts of WebSockets


@scenario("ws write 0.4 MB, link 8 KB/s", way=slow_link(8), size=400 * KB)
@scenario("ws write 1.2 MB, link 20 KB/s", way=slow_link(20), size=1200 * KB)
@scenario("ws write 2.4 MB, link 40 KB/s", way=slow_link(40), size=2400 * KB)
@scenario("ws write 8 MB, link 40 KB/s", way=slow_link(40), size=8 * MB)
@scenario("ws write 4 MB, link 100 KB/s", way=slow_link(100), size=4 * MB)
@scenario("ws write 8 MB, link 400 KB/s", way=slow_link(400), size=8 * MB)
@scenario("ws write 0.4 MB, reader 8 KB/s", way=slow_reader(8), size=400 * KB)
@scenario("ws write 2.4 MB, reader 40 KB/s", way=slow_reader(40), size=2400 * KB)
@scenario("ws write 2.4 MB, reader 200 KB every 5 s", way=slow_reader(40, 5), size=2400 * KB)
@scenario("ws write 8 MB, reader 100 KB/s", way=slow_reader(100), size=8 * MB)
@scenario("ws write 1.2 MB, reader 20 KB/s", way=slow_reader(20), size=1200 * KB)
@scenario("ws write 2.4 MB, reader 40 KB/s, Unix socket", way=unix_reader(40), size=2400 * KB)
@scenario("ws write 2.4 MB, reader 200 KB every 5 s, large kernel buffer", way=buffering_reader(40, 5), size=2400 * KB)
def one_write(setting, way, size):
    server, _, peer = setting.websocket(**way)
    peer.script(f"write 1 {size}")
    peer.messages(1, size)
    peer.leave()
    server.check("peer close 1000 bye")


@scenario("ws send 4.8 MB, reader fast, then 400 KB/s, large kernel buffer", kilobytes=400, script="send 48 100000")
@scenario("ws send 2.4 MB, reader fast, then 40 KB/s, large kernel buffer", kilobytes=40, script="send 24 100000")
def reader_slows_down(setting, kilobytes, script):
    server, _, peer = setting.websocket(**buffering_reader(kilobytes, at_once=4 * MB))
    peer.script(f"write 1 {4 * MB}")
    peer.messages(1, 4 * MB)
    peer.script(script)
    peer.messages(*map(int, script.split()[1:]))
    peer.leave()
    server.check("peer close 1000 bye")


@scenario("ws send 24 × 100 KB, link 20 KB/s", way=slow_link(20), script="send 24 100000")
@scenario("ws send 24 × 100 KB, link 40 KB/s", way=slow_link(40), script="send 24 100000")
@scenario("ws send 80 × 100 KB, link 100 KB/s", way=slow_link(100), script="send 80 100000")
@scenario("ws send 2000 × 1 KB, link 40 KB/s", way=slow_link(40), script="send 2000 1000")
@scenario("ws send 24 × 100 KB, reader 40 KB/s", way=slow_reader(40), script="send 24 100000")
@scenario("ws send 24 × 100 KB, reader 40 KB/s, Unix socket", way=unix_reader(40), script="send 24 100000")
@scenario("ws drain 24 × 100 KB, link 40 KB/s", way=slow_link(40), script="drain 24 100000")
@scenario("ws drain 2000 × 1 KB, link 40 KB/s", way=slow_link(40), script="drain 2000 1000")
@scenario("ws drain 24 × 100 KB, reader 40 KB/s", way=slow_reader(40), script="drain 24 100000")
def loop(setting, way, script):
    server, _, peer = setting.websocket(**way)
    peer.script(script, "print done")
    count, size = map(int, script.split()[1:])
    peer.messages(count, size)
    peer.leave()
    server.check("peer done", "peer close 1000 bye")


@scenario("ws write 2.4 MB, link fast, then 40 KB/s", script="write 1 2400000")
@scenario("ws send 24 × 100 KB, link fast, then 40 KB/s", script="send 24 100000")
@scenario("ws drain 24 × 100 KB, link fast, then 40 KB/s", script="drain 24 100000")
def slows_down(setting, script):
    """The system holds megabytes for a peer that was fast."""
    server, link, peer = setting.websocket(rate=10 * MB)
    peer.script(f"write 1 {4 * MB}")
    peer.messages(1, 4 * MB)
    link.set_rate(40 * KB)
    peer.script(script)
    peer.messages(*map(int, script.split()[1:]))
    peer.leave()
    server.check("peer close 1000 bye")


@scenario("ws broadcast 24 × 100 KB, fast and slow members")
def broadcast(setting):
    server = setting.server()
    slow = [
        WebSocket(setting.connect(setting.link(server, 40 * KB)), "/slow"),
        WebSocket(setting.connect(setting.link(server), 56 * KB), "/slow", Pace(40 * KB, 1)),
    ]
    fast = WebSocket(setting.connect(setting.link(server)), "/fast")
    for peer in [*slow, fast]:
        peer.script("join", "text joined")
        peer.text("joined")
    start = time.monotonic()
    fast.script("broadcast 24 100000")
    durations = []

    def read_fast():
        fast.messages(24, 100 * KB)
        durations.append(time.monotonic() - start)
        fast.leave()

    def read_slowly(peer):
        peer.messages(24, 100 * KB)
        peer.leave()

    together(read_fast, *(functools.partial(read_slowly, peer) for peer in slow))
    server.check("fast close 1000 bye", "slow close 1000 bye", "slow close 1000 bye")
    if durations[0] > 5:
        raise Failed(f"the fast member had to wait for {durations[0]:.1f} s")
    return f"the fast member was done after {durations[0]:.1f} s"


# ----------------------------------------------------------------------------------------------------------- pongs


@scenario("ws pings are answered 15 s late, idle", seconds=65, pong_after=15)
@scenario("ws nothing but pongs", seconds=65, pong_after=0)
def idle(setting, seconds, pong_after):
    server, _, peer = setting.websocket(pong_after=pong_after)
    peer.idle(seconds)
    if peer.pings < 2:
        raise Failed(f"{peer.pings} pings in {seconds} s")
    peer.leave()
    server.check("peer close 1000 bye")
    return f"{peer.pings} pings"


@scenario("ws pings are answered 10 s late, 24 × 100 KB, link 40 KB/s")
def late_pongs_behind_megabytes(setting):
    server, _, peer = setting.websocket(rate=40 * KB, pong_after=10)
    peer.script("send 24 100000")
    peer.messages(24, 100 * KB)
    peer.idle(25)
    peer.leave()
    server.check("peer close 1000 bye")


# ------------------------------------------------------------------------------------------------------------ ends


@scenario("ws end behind 2.4 MB, link 40 KB/s", way=slow_link(40), script="end", size=2400 * KB)
@scenario("ws close behind 2.4 MB, link 40 KB/s", way=slow_link(40), script="close", size=2400 * KB)
@scenario("ws close_with behind 2.4 MB, link 40 KB/s", way=slow_link(40), script="close_with 4001 over", size=2400 * KB)
@scenario("ws end_with behind 2.4 MB, link 40 KB/s", way=slow_link(40), script="end_with last words", size=2400 * KB)
@scenario("ws close_with behind 0.4 MB, link 8 KB/s", way=slow_link(8), script="close_with 4001 over", size=400 * KB)
@scenario("ws close behind 2.4 MB, reader 40 KB/s", way=slow_reader(40), script="close", size=2400 * KB)
@scenario("ws close behind 2.4 MB, reader 40 KB/s, Unix socket", way=unix_reader(40), script="close", size=2400 * KB)
@scenario("ws close behind 2.4 MB, reader 300 KB every 12 s", way=slow_reader(25, 12), script="close", size=2400 * KB)
def end(setting, way, script, size):
    server, _, peer = setting.websocket(**way)
    peer.script(f"write 1 {size}", script)
    peer.messages(1, size)
    code, reason = (4001, "over") if script.startswith("close_with") else (1000, "")
    if script.startswith("end_with"):
        peer.text("last words")
    peer.closed(code, reason)
    server.check(f"peer close {code} {reason}")


@scenario("ws close_with after send 24 × 100 KB, link 40 KB/s")
def close_after_a_loop(setting):
    server, _, peer = setting.websocket(rate=40 * KB)
    peer.script("send 24 100000", "close_with 4001 over")
    peer.messages(24, 100 * KB)
    peer.closed(4001, "over")
    server.check("peer close 4001 over")


@scenario("shutdown behind 2.4 MB, ws, link 40 KB/s", way=slow_link(40))
@scenario("shutdown behind 2.4 MB, ws, reader 40 KB/s", way=slow_reader(40))
def shutdown_websocket(setting, way):
    server, _, peer = setting.websocket("shutdown_grace=150", **way)
    peer.script("write 1 2400000", "print written")
    server.wait("peer written", 10)
    server.command("shutdown")
    peer.messages(1, 2400 * KB)
    peer.closed(1001, "server shutdown")
    server.check("peer written", "peer close 1001 server shutdown", "server over")


@scenario("shutdown amid a response, link 40 KB/s", path="/bytes/2400000", version="1.1")
@scenario("shutdown amid a streamed response, link 40 KB/s", path="/send/2400000", version="1.1")
@scenario("shutdown amid a streamed response, http 1.0, link 40 KB/s", path="/send/2400000", version="1.0")
def shutdown_response(setting, path, version):
    server, _, client = setting.http("shutdown_grace=150", rate=40 * KB)
    client.get(path, version=version)
    fields = client.head(200)
    server.command("shutdown")
    if client.body(fields) != payload(0, 2400 * KB):
        raise Failed("the body is wrong")
    client.ended()
    server.check(*["http stream closed"] * path.startswith("/send"), "server over")


# ------------------------------------------------------------------------------------------------------- responses


@scenario("http Content-Length 0.4 MB, link 8 KB/s", way=slow_link(8), path="/bytes", size=400 * KB)
@scenario("http Content-Length 2.4 MB, link 40 KB/s", way=slow_link(40), path="/bytes", size=2400 * KB)
@scenario("http Content-Length 8 MB, link 400 KB/s", way=slow_link(400), path="/bytes", size=8 * MB)
@scenario("http Content-Length 2.4 MB, reader 40 KB/s", way=slow_reader(40), path="/bytes", size=2400 * KB)
@scenario(
    "http Content-Length 4 MB, reader 100 KB/s, large kernel buffer",
    way=buffering_reader(100),
    path="/bytes",
    size=4 * MB,
)
@scenario("http send 2.4 MB, link 40 KB/s", way=slow_link(40), path="/send", size=2400 * KB)
@scenario("http send 2.4 MB, reader 40 KB/s", way=slow_reader(40), path="/send", size=2400 * KB)
@scenario("http send 2.4 MB, reader 40 KB/s, Unix socket", way=unix_reader(40), path="/send", size=2400 * KB)
@scenario("http drain 2.4 MB, link 40 KB/s", way=slow_link(40), path="/drain", size=2400 * KB)
@scenario("http drain 1.2 MB, link 20 KB/s", way=slow_link(20), path="/drain", size=1200 * KB)
def response(setting, way, path, size):
    server, _, client = setting.http(**way)
    # Twice on one connection, and then it is to end.
    client.get(f"{path}/{size // 2}")
    client.response(size // 2, chunked=path != "/bytes")
    client.get(f"{path}/{size // 2}", "Connection: close")
    client.response(size // 2, chunked=path != "/bytes")
    client.ended()
    server.check(*["http stream closed"] * (0 if path == "/bytes" else 2))


@scenario("http keep-alive after 0.2 MB, link 4 KB/s", way=slow_link(4), size=200 * KB)
@scenario("http keep-alive after 0.1 MB, reader 2 KB/s, Unix socket", way=unix_reader(2), size=100 * KB)
def kept_alive(setting, way, size):
    """The timeout begins when the response has arrived, and not when the system has taken it."""
    server, _, client = setting.http(**way)
    client.get(f"/bytes/{size}")
    client.response(size)
    time.sleep(25)
    client.get("/bytes/10", "Connection: close")
    client.response(10)
    client.ended()
    server.check()


@scenario("http 100-continue behind 0.4 MB, link 8 KB/s")
def continued(setting):
    """A pipelining client, which cannot have seen the 100 before the response."""
    server, _, client = setting.http(rate=8 * KB)
    client.get("/bytes/400000")
    head = "POST /upload HTTP/1.1\r\nHost: server\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    client.write(head.encode())
    client.response(400 * KB)
    if client.until(b"\r\n\r\n") != b"HTTP/1.1 100 Continue":
        raise Failed("no 100")
    client.write(payload(0, 5))
    client.answer(200, b"5 intact")
    server.check()


@scenario("http 1.0, 2.4 MB until the end, link 40 KB/s", way=slow_link(40))
@scenario("http 1.0, 2.4 MB until the end, reader 40 KB/s", way=slow_reader(40))
def close_delimited(setting, way):
    server, _, client = setting.http(**way)
    client.get("/send/2400000", version="1.0")
    client.response(2400 * KB, chunked=False)
    client.ended()
    server.check("http stream closed")


# --------------------------------------------------------------------------------------------------------- uploads


@scenario("http upload 0.4 MB, link 8 KB/s", rate=8 * KB, size=400 * KB)
@scenario("http upload 1.2 MB, link 20 KB/s", rate=20 * KB, size=1200 * KB)
def upload(setting, rate, size):
    server, _, client = setting.http("max_body_size=10000000", rate=rate)
    client.write(f"POST /upload HTTP/1.1\r\nHost: server\r\nContent-Length: {size}\r\n\r\n".encode())
    client.connection.settimeout(200)
    client.write(payload(0, size))
    client.answer(200, f"{size} intact".encode())
    client.get("/bytes/100")
    client.response(100)
    server.check()


@scenario("http upload 0.2 MB in chunks of 100 bytes, link 8 KB/s", rate=8 * KB, pause=0, size=200 * KB)
@scenario("http upload 0.2 MB in chunks of 100 bytes, writer 8 KB/s", rate=None, pause=100 / (8 * KB), size=200 * KB)
def chunked_upload(setting, rate, pause, size):
    server, _, client = setting.http("max_body_size=10000000", rate=rate)
    client.write(b"POST /upload HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.connection.settimeout(200)
    body = payload(0, size)
    for start in range(0, size, 100):
        client.write(b"64\r\n" + body[start : start + 100] + b"\r\n")
        time.sleep(pause)
    client.write(b"0\r\n\r\n")
    client.answer(200, f"{size} intact".encode())
    client.get("/bytes/100")
    client.response(100)
    server.check()


@scenario("http 413 for 5 MB sent before it reads", rate=None)
@scenario("http 413 for 5 MB sent before it reads, link 400 KB/s", rate=400 * KB)
@scenario("http 413 for 5 MB sent before it reads, link 100 KB/s", rate=100 * KB)
def too_large(setting, rate):
    server, _, client = setting.http(rate=rate)
    client.connection.settimeout(200)
    size = 5 * MB
    client.write(f"POST /upload HTTP/1.1\r\nHost: server\r\nContent-Length: {size}\r\n\r\n".encode() + payload(0, size))
    client.answer(413)
    server.check("http error BodyTooLarge.*")


# -------------------------------------------------------------------------------------------------------- delivery


@scenario("ws 100 messages are delivered, the writer is an echo", path="/echo", count=100, says_close=True)
@scenario("ws 100 messages are delivered, the writer is a broadcast", path="/relay", count=100, says_close=True)
@scenario("ws 500 messages are delivered, the writer is a ping", path="/hear", count=500, says_close=True)
@scenario("ws 100 messages are delivered, no Close follows", path="/echo", count=100, says_close=False)
def delivered(setting, path, count, says_close):
    """The client has left when most of its messages are delivered, so that writing fails."""
    server, _, peer = setting.websocket(path=f"{path}/peer")
    for number in range(count):
        peer.send(1, f"{number}".encode())
    if says_close:
        peer.send(8, b"\x03\xe8bye")
    if path != "/hear":
        # With an echo unread, the end is a reset.
        server.wait("peer text 2", 10)
    peer.connection.close()
    messages = [f"peer text {number}" for number in range(count)]
    server.check(*messages, "peer close 1000 bye" if says_close else "peer close 1006 ", within=count * 0.15 + 20)


# ----------------------------------------------------------------------------------------------------- lossy links


@scenario("ws send 24 × 100 KB, link 100 KB/s that loses 5 %")
def lossy_websocket(setting):
    server = setting.server()
    peer = WebSocket(setting.connect(setting.lossy_link(server, 100 * KB)))
    peer.script("send 24 100000", "close_with 4001 over")
    peer.messages(24, 100 * KB)
    peer.closed(4001, "over")
    server.check("peer close 4001 over")


@scenario("http 2.4 MB, and 0.4 MB up, link 100 KB/s that loses 5 %")
def lossy_http(setting):
    server = setting.server("max_body_size=10000000")
    client = Http(setting.connect(setting.lossy_link(server, 100 * KB)))
    client.get("/bytes/2400000")
    client.response(2400 * KB)
    client.connection.settimeout(200)
    size = 400 * KB
    client.write(f"POST /upload HTTP/1.1\r\nHost: server\r\nContent-Length: {size}\r\n\r\n".encode() + payload(0, size))
    client.answer(200, f"{size} intact".encode())
    server.check()


@scenario("http 413, link 200 KB/s that loses all for 8 s")
def stalled_refusal(setting):
    """If the server dropped the client meanwhile, a reset would follow instead of the response."""
    server = setting.server()
    link = setting.lossy_link(server, 200 * KB, loss=0)
    client = Http(setting.connect(link))
    size = 1 * MB
    client.write(f"POST /upload HTTP/1.1\r\nHost: server\r\nContent-Length: {size}\r\n\r\n".encode())
    # What the answer is followed by is lost, if not the answer.
    server.wait("http error BodyTooLarge.*", 5)
    link.loss = 1
    together(
        lambda: (time.sleep(8), setattr(link, "loss", 0)),
        lambda: (client.write(payload(0, size)), client.answer(413)),
    )
    server.check("http error BodyTooLarge.*")


# ------------------------------------------------------------------------------------------------------ dead peers

# Seconds by which an end may be later than the options say.
LATE = 2.5

# The first ping is sent after 20 s, give or take 10 %, and its pong is waited for 20 s.
FIRST_PONG = (18 + 20, 22 + 20)


def dead(server, pattern, since, least, most, lingers=0):
    """Expects the server's line between `least` and `most` seconds after `since`, and the end of its socket after lingering."""
    took = server.wait(pattern, since + most + 15 - time.monotonic()) - since
    if not least - 0.5 <= took <= most + LATE:
        raise Failed(f"{pattern!r} after {took:.1f} s, expected {least} to {most} s")
    server.settle(lingers + (LATE if lingers else 1))
    return f"after {took:.1f} s"


@scenario("dead: link cut, ws idle")
def cut_idle(setting):
    server, link, _ = setting.websocket(rate=400 * KB)
    opened = time.monotonic()
    link.cut()
    note = dead(server, "peer close .*", opened, *FIRST_PONG)
    server.check("peer error pong_timeout .*", "peer close 1006 .*")
    return note


@scenario("dead: nothing read, ws idle")
def stopped_idle(setting):
    """Its system acknowledges the ping, which may be taken for a sign of life once."""
    server, _, _ = setting.websocket()
    least, most = FIRST_PONG
    note = dead(server, "peer close .*", time.monotonic(), least, most + 20)
    server.check("peer error pong_timeout .*", "peer close 1006 .*")
    return note


@scenario("dead: link cut, ws 2.4 MB unsent", script="write 1 2400000", more=[])
@scenario("dead: link cut, ws 8 MB unsent", script="write 1 8000000", more=[])
@scenario("dead: link cut, ws amid a send loop", script="send 80 100000", more=["peer closed in send .*"])
def cut_unsent(setting, script, more):
    server, link, peer = setting.websocket(rate=40 * KB)
    peer.script(script)
    peer.exactly(200 * KB)
    cut = time.monotonic()
    link.cut()
    # A pong may be missed first. It is waited for twice as long if acknowledgements still come.
    note = dead(server, "peer close .*", cut, 18, 40 if link.ANSWERS_WHEN_CUT else 30)
    server.check("peer close 1006 .*", *more, "peer error (write|pong)_timeout .*", in_order=False)
    return note


@scenario("dead: nothing read, ws 8 MB unsent", unix=False, script="write 1 8000000")
@scenario("dead: nothing read, ws 8 MB unsent, Unix socket", unix=True, script="write 1 8000000")
@scenario("dead: nothing read, ws amid a drain loop", unix=False, script="drain 100 100000")
def stopped_unsent(setting, unix, script):
    server, _, peer = setting.websocket(unix=unix)
    peer.script(script)
    note = dead(server, "peer close .*", time.monotonic(), 30, 30)
    server.check("peer error write_timeout .*", "peer close 1006 .*")
    return note


@scenario("dead: link cut, ws after close_with")
def cut_after_close(setting):
    server, link, peer = setting.websocket(rate=400 * KB)
    peer.script("print begun", "sleep 2", "close_with 4001 over")
    begun = server.wait("peer begun", 5)
    link.cut()
    # The Close is never acknowledged, which is for the write timeout, unless a proxy acknowledges it.
    note = dead(server, "peer close .*", begun + 2, 10, 30 + 10)
    errors = len(server.printed()) - 2
    server.check("peer begun", *["peer error write_timeout .*"] * errors, "peer close 1006 .*")
    return note


@scenario("dead: a Close is not answered")
def stopped_after_close(setting):
    server, _, peer = setting.websocket()
    peer.script("close_with 4001 over")
    note = dead(server, "peer close .*", time.monotonic(), 10, 10)
    server.check("peer close 1006 ")
    return note


@scenario("dead: link cut, ws after close_with behind 2.4 MB", script="write 1 2400000")
@scenario("dead: link cut, ws after close_with behind 8 MB", script="write 1 8000000")
def cut_closing(setting, script):
    server, link, peer = setting.websocket(rate=40 * KB)
    peer.script(script, "close_with 4001 over")
    peer.exactly(200 * KB)
    cut = time.monotonic()
    link.cut()
    return dead_while_closing(server, cut)


@scenario("dead: nothing read, ws after close_with behind 8 MB")
def stopped_closing(setting):
    server, _, peer = setting.websocket()
    peer.script("write 1 8000000", "close_with 4001 over")
    return dead_while_closing(server, time.monotonic())


def dead_while_closing(server, since):
    """By the close timeout if the kernel has taken the Close, else by the write timeout."""
    note = dead(server, "peer close .*", since, 10, 30 + 10)
    errors = len(server.printed()) - 1
    server.check(*["peer error write_timeout .*"] * errors, "peer close 1006 .*")
    return note


@scenario("dead: link cut, amid a response", path="/bytes/8000000", more=[])
@scenario(
    "dead: link cut, amid a streamed response",
    path="/send/8000000",
    more=["http stream closed", "http closed in send"],
)
def cut_response(setting, path, more):
    server, link, client = setting.http(rate=40 * KB)
    client.get(path)
    client.exactly(200 * KB)
    cut = time.monotonic()
    link.cut()
    note = dead(server, "http error WriteTimeout.*", cut, 28, 30)
    server.check("http error WriteTimeout.*", *more, in_order=False)
    return note


@scenario("dead: link cut, at the end of a response")
def cut_kept_alive(setting):
    """The kernel may have taken all of it, so that the connection is about to be kept alive."""
    server, link, client = setting.http(rate=40 * KB)
    client.get("/bytes/1000000")
    client.exactly(200 * KB)
    cut = time.monotonic()
    link.cut()
    note = dead(server, "http error WriteTimeout.*", cut, 28, 30)
    server.check("http error WriteTimeout.*")
    return note


@scenario("dead: nothing read, amid a response", unix=False)
@scenario("dead: nothing read, amid a response, Unix socket", unix=True)
def stopped_response(setting, unix):
    server, _, client = setting.http(unix=unix)
    client.get("/bytes/8000000")
    note = dead(server, "http error WriteTimeout.*", time.monotonic(), 30, 30)
    server.check("http error WriteTimeout.*")
    return note


@scenario("dead: link cut, amid an upload")
def cut_upload(setting):
    server, link, client = setting.http("max_body_size=10000000", rate=40 * KB)
    client.write(b"POST /upload HTTP/1.1\r\nHost: server\r\nContent-Length: 1000000\r\n\r\n" + payload(0, 8000))
    sent = time.monotonic()
    time.sleep(1)
    link.cut()
    # The error page is not acknowledged, which is for the write timeout.
    note = dead(server, "http error BodyTimeout.*", sent, 10, 10, lingers=30)
    server.check("http error BodyTimeout.*")
    return note
