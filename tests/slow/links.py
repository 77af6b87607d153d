"""Servers, and slow links to them.

A link is a pair of veth interfaces between two network namespaces, with `tc qdisc ... tbf` at both
ends. Where the machine lacks the rights or the programs for that, a link is a proxy that forwards
at a rate. The namespaces have no names: they end with the processes that use them, and a server
ends when its stdin does. So nothing is left behind, however the run ends.
"""

import ctypes
import contextlib
import fcntl
import heapq
import itertools
import os
import random
import re
import select
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
# What the proxy's sockets hold, so that its rate is felt at both of its sides.
PROXY_BUFFER = 16 * 1024


class Failed(Exception):
    """A scenario went otherwise than it should have."""


def namespaces_missing():
    """Why links cannot be made of namespaces here; None if they can."""

    def attempt():
        try:
            unshare()
            run("ip", ["link add near type veth peer name far"])
            run("tc", ["qdisc add dev near root tbf rate 64kbit burst 3100 limit 16384"])
        except (OSError, subprocess.SubprocessError) as error:
            missing.append(str(getattr(error, "stderr", None) or error).strip())

    missing = []
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return missing[0] if missing else None


def tun_missing():
    """Why there can be no lossy links here; None if there can."""
    return None if os.access("/dev/net/tun", os.R_OK | os.W_OK) else "/dev/net/tun cannot be opened"


def run(program, lines):
    subprocess.run([program, "-batch", "-"], input="\n".join(lines), check=True, text=True, capture_output=True)


def unshare():
    """Moves this thread into a new network namespace, which lives as long as the descriptor."""
    if LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace: " + os.strerror(ctypes.get_errno()))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def enter(namespace):
    """Moves this thread into a namespace."""
    if LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def count_sockets(pid):
    """How many descriptors of a process are sockets."""
    folder = f"/proc/{pid}/fd"
    count = 0
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"{folder}/{name}").startswith("socket:")
    return count


class Server:
    """A process of `server.rs`, and what it has printed."""

    def __init__(self, program, address, options, uses_namespaces):
        self.namespace = unshare() if uses_namespaces else None
        if uses_namespaces:
            run("ip", ["link set lo up"])
        command = [program, address, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        # A port, or the path of a Unix socket.
        self.address = self.process.stdout.readline().split()[1]
        self.sockets = self.count_sockets()
        self.lines, self.news = [], threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append((time.monotonic(), line.rstrip("\n")))
                self.news.notify_all()

    def command(self, line):
        print(line, file=self.process.stdin, flush=True)

    def wait(self, pattern, within):
        """When the first line that matches was printed. It may have been."""
        deadline = time.monotonic() + within
        with self.news:
            while True:
                for moment, line in self.lines:
                    if re.fullmatch(pattern, line):
                        return moment
                if not self.news.wait(deadline - time.monotonic()):
                    raise Failed(f"the server has not printed {pattern!r} within {within:.1f} s")

    def check(self, *patterns, within=5, in_order=True):
        """These are all the lines that the server prints."""
        deadline = time.monotonic() + within
        with self.news:
            while len(self.lines) < len(patterns) and self.news.wait(deadline - time.monotonic()):
                pass
        # One too many would follow at once.
        time.sleep(0.3)
        lines = self.printed()
        if not in_order:
            lines, patterns = sorted(lines), sorted(patterns)
        for number, (line, pattern) in enumerate(itertools.zip_longest(lines, patterns), 1):
            if line is None or pattern is None or not re.fullmatch(pattern, line):
                raise Failed(f"line {number} of the server is {line!r}, expected {pattern!r}")

    def printed(self):
        return [line for _, line in self.lines]

    def count_sockets(self):
        return count_sockets(self.process.pid)

    def settle(self, within):
        """Waits until the server has closed the sockets of all connections."""
        deadline = time.monotonic() + within
        while (count := self.count_sockets()) > self.sockets:
            if time.monotonic() > deadline:
                raise Failed(f"the server still has {count - self.sockets} sockets of connections after {within} s")
            time.sleep(0.1)

    def end(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.namespace is not None:
            os.close(self.namespace)
        if code != 0:
            raise Failed(f"the server ended with {code}")


class Link:
    """A way to a server. `rate`: bytes a second in each direction; None for no limit."""

    # Whether the server's bytes are still acknowledged when the link is cut.
    ANSWERS_WHEN_CUT = False
    numbers = itertools.count(256)

    def __init__(self, server, rate):
        self.server, number = server, next(Link.numbers)
        self.namespace = unshare()
        self.far = f"link{number}"
        # Each link has a network of its own.
        self.network = "10.{}.{}".format(*divmod(number, 256))
        self.connect_interfaces(rate)
        run("ip", ["link set lo up", f"addr add {self.network}.2/24 dev near", "link set near up"])
        enter(server.namespace)
        run("ip", [f"addr add {self.network}.1/24 dev {self.far}", f"link set {self.far} up"])
        if rate is not None:
            self.set_rate(rate)

    def connect_interfaces(self, rate):
        run("ip", [f"link add near type veth peer name {self.far} netns {self.server.process.pid}"])

    def set_rate(self, rate):
        """It may change."""
        for namespace, device in ((self.namespace, "near"), (self.server.namespace, self.far)):
            enter(namespace)
            limits = f"rate {rate * 8}bit burst {max(3100, rate // 100)} limit {max(rate, 16 * 1024)}"
            run("tc", [f"qdisc replace dev {device} root tbf {limits}"])

    def connect(self, buffer=None):
        """Connects. `buffer`: bytes of the client's receive buffer; None lets the system choose."""
        enter(self.namespace)
        return connect(socket.AF_INET, (f"{self.network}.1", int(self.server.address)), buffer)

    def cut(self):
        """Drops all packets from now on, without a signal to either end."""
        enter(self.namespace)
        run("ip", ["link set near down"])

    def close(self):
        os.close(self.namespace)


def connect(family, address, buffer):
    connection = socket.socket(family)
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(30)
    connection.connect(address)
    if family == socket.AF_INET:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class UnixSocket:
    """A way to a server without a link."""

    def __init__(self, server):
        self.server = server

    def connect(self, buffer=None):
        return connect(socket.AF_UNIX, self.server.address, buffer)

    def close(self):
        pass


class LossyLink(Link):
    """A link that loses packets, one of twenty unless `loss` says more or less, and delays the others.

    Its interfaces are TUN devices. A thread forwards their packets, since many kernels are built
    without netem.
    """

    DELAY = 0.05

    def __init__(self, server, rate, loss=0.05):
        self.loss = loss
        super().__init__(server, rate)

    def connect_interfaces(self, rate):
        near = open_tun("near")
        enter(self.server.namespace)
        far = open_tun(self.far)
        enter(self.namespace)
        self.ended = threading.Event()
        threading.Thread(target=self.forward, args=(near, far, rate), daemon=True).start()

    def set_rate(self, rate):
        """The thread sees to it."""

    def forward(self, near, far, rate):
        """Packets keep their order, leave at the rate, and are under way for the delay."""
        chance = random.Random(1)
        underway, number = [], 0
        free = {near: 0.0, far: 0.0}
        while not self.ended.is_set():
            pause = underway[0][0] - time.monotonic() if underway else 0.1
            for source in select.select([near, far], [], [], max(0, min(pause, 0.1)))[0]:
                packet, now = os.read(source, 65536), time.monotonic()
                # What would wait for more than half a second has no room.
                if chance.random() < self.loss or free[source] > now + 0.5:
                    continue
                free[source] = max(free[source], now) + len(packet) / rate
                number += 1
                heapq.heappush(underway, (free[source] + self.DELAY, number, far if source == near else near, packet))
            while underway and underway[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(underway)
                # An interface may not be up yet.
                with contextlib.suppress(OSError):
                    os.write(target, packet)
        os.close(near)
        os.close(far)

    def close(self):
        self.ended.set()
        super().close()


def open_tun(name):
    """A TUN device in this thread's namespace, which lives as long as its descriptor."""
    TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


class Proxy:
    """A link that is a proxy: it forwards at a rate, and buffers little."""

    ANSWERS_WHEN_CUT = True

    def __init__(self, server, rate):
        self.server, self.rate = server, rate
        self.is_cut, self.is_closed = False, False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PROXY_BUFFER)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PROXY_BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def connect(self, buffer=None):
        return connect(socket.AF_INET, self.target() if self.rate is None else self.listener.getsockname(), buffer)

    def target(self):
        return "127.0.0.1", int(self.server.address)

    def set_rate(self, rate):
        self.rate = rate

    def cut(self):
        self.is_cut = True

    def close(self):
        self.is_closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PROXY_BUFFER)
                far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PROXY_BUFFER)
                far.connect(self.target())
                for source, target in ((near, far), (far, near)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self.forward, args=(source, target), daemon=True).start()

    def forward(self, source, target):
        free = time.monotonic()
        try:
            while bytes_read := source.recv(min(max(self.rate // 20, 1000), 65536)):
                free = max(free, time.monotonic()) + len(bytes_read) / self.rate
                time.sleep(max(0, free - time.monotonic()))
                while self.is_cut:
                    if self.is_closed:
                        return
                    time.sleep(0.1)
                target.sendall(bytes_read)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # A reset passes as one, and ends the other direction too.
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RD)
                    end.close()
