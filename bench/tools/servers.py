"""The servers that are measured."""

import dataclasses


@dataclasses.dataclass
class Server:
    name: str
    # "floor", "ours", "variant" (ours, written differently), or "peer".
    kind: str
    # A program of this package, or a script in `peers`.
    program: str
    # Its options in each role; a role that is missing is not measured.
    roles: dict
    has_workers: bool = False
    # The requirement besides the core: "peers" (built with the feature), "node" or "bun".
    needs: str | None = None
    # More environment for the load generator.
    load_environment: dict = dataclasses.field(default_factory=dict)


BOTH = {"echo": [], "broadcast": ["--mode", "broadcast"]}
ALL = {**BOTH, "get": []}


def core(program, kind, roles=BOTH, **more):
    return Server(program, kind, program, roles, **more)


def variant(mode):
    return Server(f"ours ({mode})", "variant", "ours", {"echo": ["--mode", mode]})


def peer(name, forward=False, roles=BOTH):
    """With `forward`, messages are sent when there are no more to read, instead of one by one."""
    program = f"peer_{name.replace('-', '_')}"
    if forward:
        return Server(f"{name} (forward)", "peer", program, {"echo": ["--style", "forward"]}, needs="peers")
    return Server(name, "peer", program, roles, needs="peers")


def script(name, runtime, file):
    return Server(name, "peer", file, BOTH, needs=runtime)


SERVERS = [
    core("floor_epoll", "floor"),
    core("floor_tokio", "floor", has_workers=True),
    core("ours", "ours", roles=ALL, has_workers=True),
    variant("argument"),
    variant("async"),
    peer("fastwebsockets"),
    peer("tokio-tungstenite"),
    peer("tokio-tungstenite", forward=True),
    peer("tokio-websockets"),
    peer("tokio-websockets", forward=True),
    peer("yawc"),
    peer("yawc", forward=True),
    peer("sockudo-ws"),
    peer("sockudo-ws", forward=True),
    peer("soketto"),
    peer("actix-ws", roles=ALL),
    peer("axum", roles=ALL),
    peer("hyper", roles={"get": []}),
    Server("socketioxide", "peer", "peer_socketioxide", {"echo": []}, needs="peers", load_environment={"LOAD_SOCKETIO": "yes"}),
    script("ws on Node", "node", "ws.js"),
    script("Bun", "bun", "bun.js"),
]
