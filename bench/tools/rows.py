"""The rows of the measurement: the arguments of the load generator, and the target values."""

import dataclasses

US = ("µs", 1e-3)
KIB = ("KiB", 1 / 1024)


@dataclasses.dataclass
class Row:
    name: str
    mode: str
    options: str
    # What the goal is a multiple of: a floor, hyper, or "itself" with one thread; None if it is an absolute number.
    against: str | None
    goal: float
    # The role of the servers: they echo, they broadcast, or they answer GET requests.
    role: str = "echo"
    # The field of the load generator's result, and how it is shown.
    field: str = "server_cpu_ns_each"
    unit: tuple = US
    # Whether the other ways to write our server are measured, too.
    variants: bool = False
    # Worker threads of the server. More than one may use both cores.
    workers: int = 1
    # The row whose result with one thread this one is compared with.
    base: str | None = None

    @property
    def is_timed(self):
        return self.field == "server_cpu_ns_each"


def echo(name, options, against, goal, **more):
    return Row(name, "echo", options, against, goal, **more)


def broadcast(name, options, goal):
    return Row(name, "broadcast", f"--members 1000 {options}", "floor_tokio", goal, role="broadcast")


def get(name, options, goal):
    return Row(name, "get", options, "hyper", goal, role="get")


def idle(name, options):
    return Row(name, "idle", f"--connections 4000 {options}", None, 1.4, field="bytes_each", unit=KIB)


ROWS = [
    echo("echo 20 B, 32 connections", "--connections 32", "floor_tokio", 1.10, variants=True),
    echo("echo 20 B, 512 connections", "--connections 512", "floor_tokio", 1.10),
    echo("echo 20 B, bursts of 32, 32 connections", "--connections 32 --depth 32", "floor_epoll", 1.30, variants=True),
    echo("echo 20 B, bursts of 32, 512 connections", "--connections 512 --depth 32", "floor_epoll", 1.30),
    echo("echo 20 B binary, bursts of 32", "--connections 32 --depth 32 --kind binary", "floor_epoll", 1.30),
    echo("echo 1 KiB, bursts of 32", "--connections 32 --depth 32 --payload 1024", "floor_epoll", 1.40),
    echo("echo 1 KiB, 512 connections", "--connections 512 --payload 1024", "floor_tokio", 1.10),
    echo("echo 16 KiB, 32 connections", "--connections 32 --payload 16384", "floor_epoll", 1.00),
    echo("echo 16 KiB, 512 connections", "--connections 512 --payload 16384", "floor_tokio", 1.10),
    echo("echo 16 KiB in 4 fragments", "--connections 32 --payload 16384 --fragments 4 --kind binary", "floor_epoll", 1.33),
    echo("echo 64 KiB binary", "--connections 32 --payload 65536 --kind binary", "floor_epoll", 1.20),
    echo("echo 64 KiB non-ASCII text", "--connections 32 --payload 65536 --kind utf8", "floor_epoll", 1.30),
    echo("echo 1 MiB binary, 8 connections", "--connections 8 --payload 1048576 --kind binary", "floor_epoll", 1.05),
    echo("echo 1 MiB text, 8 connections", "--connections 8 --payload 1048576 --kind text", "floor_epoll", 1.20),
    idle("idle connection, fresh", "--payload 0"),
    idle("idle connection after 16 KiB", "--payload 16384"),
    Row("open, upgrade, close", "handshake", "--concurrency 16", "floor_tokio", 1.10),
    get("GET, a load tester's headers, 32 connections", "--connections 32 --headers tester", 1.0),
    get("GET, a browser's headers, 32 connections", "--connections 32 --headers browser", 1.0),
    get("GET, a load tester's headers, 16 pipelined", "--connections 32 --depth 16 --headers tester", 0.8),
    get("GET, a browser's headers, 16 pipelined", "--connections 32 --depth 16 --headers browser", 0.8),
    broadcast("broadcast 16 × 100 B to 1000, a delivery", "--burst 16 --payload 100", 1.15),
    broadcast("broadcast 1 × 100 B to 1000, a delivery", "--burst 1 --payload 100", 1.10),
    broadcast("broadcast 4 × 4 KiB to 1000, a delivery", "--burst 4 --payload 4096", 1.15),
    echo("two threads, bursts of 32", "--connections 32 --depth 32", "itself", 1.15, workers=2,
         base="echo 20 B, bursts of 32, 32 connections"),
]
