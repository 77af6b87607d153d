"""What docs/deployment.md says, with nginx and with HAProxy."""

import contextlib
import functools
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import guide
import links
from guide import Failed
from peers import BINARY, CLOSE, PING, TEXT, Http, WebSocket
from processes import CLIENT, NAME, HAProxy, Nginx, ask, dial, free_port, kill, wait_until

TRUSTED = "x_forwarded_for=127.0.0.1"
SCENARIOS = {}


def scenario(*proxies):
    def register(function):
        for proxy in proxies:
            SCENARIOS[f"{proxy.name}: {function.__name__}"] = functools.partial(function, proxy)
        return function

    return register


def plain(function):
    """A scenario without a proxy."""
    SCENARIOS[function.__name__] = function
    return function


def equal(got, expected, what):
    if got != expected:
        raise Failed(f"{what} is {got!r}, expected {expected!r}")


def within(moments, low, high, what):
    if not low <= moments <= high:
        raise Failed(f"{what} after {moments:.1f} s, expected {low} to {high} s")


def cut(peer, at_most=10):
    """Waits until the connection ends without a Close frame. Returns the seconds."""
    start = time.monotonic()
    peer.connection.settimeout(at_most)
    try:
        while True:
            opcode, _ = peer.frame()
            if opcode == CLOSE:
                raise AssertionError("a Close frame instead of a cut")
    except Failed as error:
        if "nothing came" in str(error):
            raise Failed(f"the connection is still open after {at_most} s") from None
    return time.monotonic() - start


def silent(peer, seconds):
    """The connection lives, and has nothing but pings."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        peer.connection.settimeout(left)
        try:
            opcode, data = peer.frame()
        except Failed as error:
            if "nothing came" in str(error):
                break
            raise
        equal(opcode, PING, "the opcode")
        peer.answer(data)
    peer.connection.settimeout(10)


def echo(peer, text="hello"):
    peer.send(TEXT, text.encode())
    peer.text(text)


def of_global(line):
    """Adds a line to the section `global` of HAProxy, which the guide does not need."""
    return "defaults\n", f"global\n    {line}\n\ndefaults\n"


def both(nginx, haproxy):
    return lambda proxy: nginx if proxy is Nginx else haproxy


WITHOUT_CHECKS = both([], [(" check\n", "\n"), ("    option httpchk GET /health\n", "")])


@scenario(Nginx, HAProxy)
def websockets(proxy, setting):
    server = setting.server(TRUSTED)
    peer = proxy(setting, server).websocket()
    echo(peer)
    large = os.urandom(1 << 20)
    peer.send(BINARY, large)
    peer.expect(BINARY, large, "the message of 1 MiB")
    peer.send(CLOSE, b"\x0f\xa1bye")
    equal(peer.next(), (CLOSE, b"\x0f\xa1bye"), "the answer to a Close frame")
    peer.ended()
    server.expect("close 4001 bye")
    other = WebSocket(proxy(setting, server).connect(), headers=[f"Host: {NAME}"])
    other.send(TEXT, b"close")
    other.closed(4001, "by the server")
    server.expect("close 4001 by the server")


@scenario(Nginx, HAProxy)
def requests(proxy, setting):
    front = proxy(setting, setting.server(TRUSTED))
    http, host = Http(front.connect()), f"{NAME}:{front.port}"
    for _ in range(3):
        equal(ask(http, "GET", "/", front.host())[2].decode(), f"{CLIENT} https {host}", "the client")
    equal(ask(http, "POST", "/size", front.host(), body=bytes(60_000))[2], b"60000", "the size of the body")
    with socket.create_connection(("127.0.0.1", front.plain_port)) as connection:
        status, fields, _ = ask(Http(connection), "GET", "/a?b", f"Host: {NAME}")
    equal((status in (301, 302), fields["location"]), (True, f"https://{NAME}/a?b"), "the redirect")


def event(http):
    """Waits for the next event of a stream. Returns its text."""
    return http.until(b"data: ") and http.until(b"\n\n").decode()


def subscribe(front, path):
    http = Http(front.connect())
    http.connection.settimeout(8)
    http.write(f"GET {path} HTTP/1.1\r\n{front.host()}\r\n\r\n".encode())
    return http


@scenario(Nginx, HAProxy)
def events_arrive_at_once(proxy, setting):
    front = proxy(setting, setting.server(TRUSTED))
    start = time.monotonic()
    http = subscribe(front, "/events?every=1500")
    for number in range(3):
        equal(event(http), str(number), "the event")
        within(time.monotonic() - start, 1.5 * number - 0.1, 1.5 * number + 1, f"event {number}")


@scenario(Nginx)
def events_with_buffering(proxy, setting):
    front = proxy(setting, setting.server(TRUSTED), [("        proxy_buffering off;\n", "")])
    http = subscribe(front, "/events?every=500")
    http.connection.settimeout(3)
    with contextlib.suppress(Failed):
        event(http)
        raise AssertionError("an event has passed a buffer")
    equal(event(subscribe(front, "/events?accel=no")), "0", "the event of a response with X-Accel-Buffering")


@scenario(Nginx, HAProxy)
def silent_events(proxy, setting):
    changes = both(
        [("proxy_read_timeout 60s", "proxy_read_timeout 2s")],
        [("timeout client       60s", "timeout client 2s"), ("timeout server       60s", "timeout server 2s")],
    )(proxy)
    front = proxy(setting, setting.server(TRUSTED), changes)
    quiet, start = subscribe(front, "/events?every=60000"), time.monotonic()
    equal(event(quiet), "0", "the event")
    while True:
        try:
            if not quiet.fill():
                break
        except Failed as error:
            if "nothing came" in str(error):
                raise
            break
    within(time.monotonic() - start, 1.5, 6, "the end of a silent response")
    http = subscribe(front, "/events?every=700")
    for number in range(6):
        equal(event(http), str(number), "the event")


@scenario(Nginx, HAProxy)
def addresses_of_clients(proxy, setting):
    server = setting.server(TRUSTED)
    front = proxy(setting, server)
    forged = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil.example",
              'Forwarded: for=6.6.6.6;host=evil.example']
    equal(front.get("/", *forged), f"{CLIENT} https {NAME}:{front.port}", "the client with forged headers")
    peer = front.websocket(*forged)
    peer.send(TEXT, b"client")
    peer.text(CLIENT)
    # Past the proxy, from an address that is not trusted.
    status, _, body = ask(Http(server.connect("127.0.0.3")), "GET", "/", "Host: a", *forged)
    equal((status, body), (200, b"127.0.0.3 http a"), "the client past the proxy")


FORWARDED = both(
    [
        ("        proxy_set_header X-Forwarded-For   $proxy_add_x_forwarded_for;\n", guide.block("nginx", "Forwarded \"for")),
        ("        proxy_set_header X-Forwarded-Proto $scheme;\n", ""),
    ],
    [
        ("    option forwardfor\n", ""),
        ("    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n", guide.block("haproxy", "set-header Forwarded")),
    ],
)


@scenario(Nginx, HAProxy)
def addresses_in_forwarded(proxy, setting):
    front = proxy(setting, setting.server("forwarded=127.0.0.1"), FORWARDED(proxy))
    expected = f"{CLIENT} https {NAME}:{front.port}"
    for forged in ("for=6.6.6.6;proto=http;host=evil.example", 'for="', "\\"):
        equal(front.get("/", f"Forwarded: {forged}", "X-Forwarded-For: 6.6.6.6"), expected, f"the client with {forged}")


@scenario(HAProxy)
def addresses_by_the_proxy_protocol(proxy, setting):
    server, line = setting.server("proxy_protocol=127.0.0.1"), guide.lines("haproxy", "send-proxy-v2")
    for version in (line, line.replace("send-proxy-v2", "send-proxy")):
        front = proxy(setting, server, [(proxy.SERVER, version)])
        equal(front.get("/", "X-Forwarded-For: 6.6.6.6"), f"{CLIENT} http {NAME}:{front.port}", "the client")
        peer = front.websocket()
        peer.send(TEXT, b"client")
        peer.text(CLIENT)
    # Past the proxy: from its address a header is required, and from others it is malformed HTTP.
    with server.connect("127.0.0.1") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        # The request is not read, so the system may end the connection with a reset.
        with contextlib.suppress(ConnectionResetError):
            equal(connection.recv(100), b"", "the response to a proxy without a header")
    http = Http(server.connect("127.0.0.3"))
    http.write(b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n")
    equal(ask(http, "GET", "/", "Host: a")[0], 400, "the response to a forged header")


@plain
def addresses_by_the_proxy_protocol_of_nginx(setting):
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if not module.exists():
        return "left out: it needs libnginx-mod-stream"
    server, port = setting.server("proxy_protocol=127.0.0.1"), free_port()
    stream = guide.replace(guide.block("nginx", "proxy_protocol on"), [
        ("listen 8443;", f"listen 127.0.0.1:{port};"), ("127.0.0.1:8000", server.address)])
    config = setting.folder / "nginx.conf"
    config.write_text(f"load_module {module};\ndaemon off;\npid {setting.folder}/pid;\nerror_log stderr;\n"
                      f"events {{ worker_connections 768; }}\n{stream}")
    setting.run("nginx", ["nginx", "-p", setting.folder, "-c", config])
    wait_until(lambda: Nginx.is_listening(port), "nginx listens")
    equal(ask(Http(dial(("127.0.0.1", port), CLIENT)), "GET", "/", "Host: a")[2].decode(), f"{CLIENT} http a", "the client")


@scenario(Nginx, HAProxy)
def addresses_that_the_proxy_passes_on(proxy, setting):
    """A proxy that does not write the header passes on the client's."""
    line = both("        proxy_set_header X-Forwarded-For   $proxy_add_x_forwarded_for;\n", "    option forwardfor\n")(proxy)
    front = proxy(setting, setting.server(TRUSTED), [(line, "")])
    equal(front.get("/", "X-Forwarded-For: 6.6.6.6").split()[0], "6.6.6.6", "the forged address")


@scenario(Nginx, HAProxy)
def trust_in_everybody(proxy, setting):
    front = proxy(setting, setting.server("x_forwarded_for=0.0.0.0/0"))
    equal(front.get("/", "X-Forwarded-For: 6.6.6.6").split()[0], "6.6.6.6", "the forged address")


@scenario(Nginx, HAProxy)
def trust_in_nobody(proxy, setting):
    front = proxy(setting, setting.server())
    equal(front.get("/"), f"127.0.0.1 http {NAME}:{front.port}", "the client")


@scenario(Nginx, HAProxy)
def origins(proxy, setting):
    front = proxy(setting, setting.server(TRUSTED))
    echo(front.websocket(f"Origin: https://{NAME}:{front.port}"))
    equal(front.refused("Origin: https://evil.example")[0], 403, "the response to another site's page")


@scenario(Nginx)
def origins_with_another_host(proxy, setting):
    line = "        proxy_set_header Host              $http_host;\n"
    for instead in ("", "        proxy_set_header Host $host;\n"):
        front = proxy(setting, setting.server(TRUSTED), [(line, instead)])
        equal(front.refused(f"Origin: https://{NAME}:{front.port}")[0], 403, f"the response with {instead!r}")
        echo(front.websocket())


@scenario(Nginx)
def missing_upgrade(proxy, setting):
    version = "        proxy_http_version 1.1;\n"
    connection = "        proxy_set_header Connection        $connection_upgrade;\n"
    upgrade = "        proxy_set_header Upgrade           $http_upgrade;\n"
    for lines, status, cause in (
        ([version, connection, upgrade], 200, '{"http_1_0": 1}'),
        ([version], 200, '{"http_1_0": 1}'),
        ([connection, upgrade], 200, '{"connection_header": 1}'),
        ([connection], 200, '{"connection_header": 1}'),
        ([upgrade], 400, "{}"),
    ):
        front = proxy(setting, setting.server(TRUSTED), [(line, "") for line in lines])
        equal((front.refused()[0], front.get("/stats")), (status, cause), f"the response and `not_upgraded` without {lines}")


@scenario(Nginx)
def headers_of_a_location(proxy, setting):
    """Headers of `server` are not inherited by a location with one of its own."""
    text = guide.block("nginx", "listen 443")
    head = "".join(line + "\n" for line in text.splitlines() if "proxy_set_header" in line)
    front = proxy(setting, setting.server(TRUSTED),
                  [(head, "        proxy_set_header X-Own 1;\n"), ("    location / {\n", head + "    location / {\n")])
    equal(front.refused()[0], 200, "the response to a handshake")


TIMEOUTS = both([("proxy_read_timeout 60s", "proxy_read_timeout 2s")], [("timeout tunnel       60s", "timeout tunnel 2s")])


@scenario(Nginx, HAProxy)
def silence_with_pings(proxy, setting):
    peer = proxy(setting, setting.server(TRUSTED, "ping_interval=700"), TIMEOUTS(proxy)).websocket()
    silent(peer, 5)
    echo(peer)


@scenario(Nginx, HAProxy)
def silence_without_pings(proxy, setting):
    server = setting.server(TRUSTED, "ping_interval=off")
    within(cut(proxy(setting, server, TIMEOUTS(proxy)).websocket()), 1.5, 4, "the end")
    server.expect("close 1006")


@scenario(HAProxy)
def silence_without_a_timeout_for_tunnels(proxy, setting):
    short = [("timeout client       60s", "timeout client 1s"), ("timeout server       60s", "timeout server 1s")]
    server = setting.server(TRUSTED, "ping_interval=off")
    within(cut(proxy(setting, server, [*short, ("    timeout tunnel       60s\n", "")]).websocket()), 0.5, 3, "the end")
    peer = proxy(setting, server, short).websocket()
    silent(peer, 3)
    echo(peer)


@scenario(Nginx, HAProxy)
def unix_sockets(proxy, setting):
    path = setting.folder / "s"
    line = both(guide.lines("nginx", "unix:"), guide.lines("haproxy", "unix@"))(proxy)
    server = setting.server(TRUSTED, address=f"unix://{path}")
    equal(path.stat().st_mode & 0o777, 0o660, "the mode of the socket")
    front = proxy(setting, {"/run/chat/chat.sock": str(path)}, [(proxy.SERVER, line)])
    equal(front.get("/", "X-Forwarded-For: 6.6.6.6"), f"{CLIENT} https {NAME}:{front.port}", "the client")
    echo(front.websocket(f"Origin: https://{NAME}:{front.port}"))


@scenario(HAProxy)
def unix_socket_and_chroot(proxy, setting):
    if os.geteuid() != 0:
        return "left out: chroot needs root"
    path, root = setting.folder / "s", setting.folder / "root"
    root.mkdir()
    setting.server(TRUSTED, address=f"unix://{path}")
    chroot = of_global(f"chroot {root}")
    line = guide.lines("haproxy", "unix@")
    front = proxy(setting, {"/run/chat/chat.sock": str(path)}, [(proxy.SERVER, line), chroot])
    wait_until(lambda: front.request("GET", "/")[0] == 503, "a 503 for a socket outside of the folder")
    setting.server(TRUSTED, address=f"unix://{root}/s")
    front = proxy(setting, {"/run/chat/chat.sock": "/s"}, [(proxy.SERVER, line), chroot])
    echo(front.websocket())


class Client(threading.Thread):
    """Sends requests until it is stopped, each on a connection of its own, and notes what fails."""

    def __init__(self, front):
        super().__init__(daemon=True)
        self.front, self.failures, self.count, self.is_stopped = front, [], 0, False
        self.start()

    def run(self):
        while not self.is_stopped:
            try:
                self.front.get("/")
            except (Failed, OSError) as error:
                self.failures.append(str(error))
            self.count += 1
            time.sleep(0.02)

    def stop(self):
        self.is_stopped = True
        self.join(10)
        if self.failures or self.count < 10:
            raise Failed(f"{len(self.failures)} of {self.count} requests failed: {self.failures[:3]}")
        return f"{self.count} requests"


def two_servers(proxy, setting, *options, more=()):
    """`more`: changes to the guide's configuration of two servers."""
    first, second = setting.server(TRUSTED, *options), setting.server(TRUSTED, *options)
    changes = both(
        [(text_of_upstream(), guide.block("nginx", ":8001"))],
        [(text_of_backend(), guide.block("haproxy", ":8001"))],
    )(proxy)
    changes += more
    return first, second, proxy(setting, {"127.0.0.1:8000": first.address, "127.0.0.1:8001": second.address}, changes)


def text_of_upstream():
    text = guide.block("nginx", "listen 443")
    return text[text.index("upstream chat") : text.index("server {\n")].rstrip("\n") + "\n"


def text_of_backend():
    text = guide.block("haproxy", "bind :443")
    return text[text.index("\nbackend chat\n") + 1 :]


@scenario(Nginx, HAProxy)
def rolling_restart(proxy, setting):
    first, second, front = two_servers(proxy, setting, "drain=5000")
    peers = [front.websocket() for _ in range(8)]
    client = Client(front)
    for server, other in ((first, second), (second, first)):
        server.process.terminate()
        # The server and its WebSockets go on until `close`.
        time.sleep(3.2)
        equal(server.process.poll(), None, "the state of a server that ends")
        for peer in peers:
            echo(peer)
        if proxy is HAProxy:
            # It has seen the 503 of `/health`, so that new clients get the other server.
            for _ in range(4):
                peer = front.websocket()
                peer.send(CLOSE, b"\x0f\xa5")
                peer.next()
            wait_until(lambda: other.lines().count("close 4005 ") == 4, "the other server serves new clients")
        # Clients that reconnect are served by the other server.
        others = []
        wait_for_end = threading.Thread(target=server.process.wait)
        wait_for_end.start()
        while wait_for_end.is_alive():
            for peer in list(peers):
                peer.connection.settimeout(0.05)
                try:
                    opcode, data = peer.frame()
                except Failed as error:
                    if "nothing came" not in str(error):
                        raise
                    continue
                if opcode == PING:
                    peer.answer(data)
                    continue
                equal((opcode, data[:2]), (CLOSE, b"\x03\xe9"), "the Close frame")
                peer.send(CLOSE, data)
                peers.remove(peer)
                others.append(front.websocket())
        equal(server.process.poll(), 0, "the exit code of the server")
        if not others:
            raise Failed("no client had to reconnect")
        peers += others
        for peer in peers:
            peer.connection.settimeout(10)
            echo(peer)
        server.start()
        # The proxy notices that the server is back.
        time.sleep(2 if proxy is HAProxy else 0)
        if proxy is Nginx:
            # `fail_timeout`.
            time.sleep(10)
    return client.stop()


@scenario(Nginx, HAProxy)
def one_server_for_each_path(proxy, setting):
    line = both(("upstream chat {\n", f"upstream chat {{\n    {guide.inline('hash $uri;')}\n"),
                ("\nbackend chat\n", f"\nbackend chat\n    {guide.inline('balance uri')}\n"))(proxy)
    first, second, front = two_servers(proxy, setting, more=[line])
    for number in range(8):
        for _ in range(3):
            peer = front.websocket(path=f"/{number}")
            peer.send(CLOSE, struct.pack("!H", 4000 + number))
            peer.next()
    is_whole = lambda: sum(len(server.lines()) - 1 for server in (first, second)) == 24
    wait_until(is_whole, "all are closed")
    counts = [[server.lines().count(f"close {4000 + number} ") for number in range(8)] for server in (first, second)]
    if any(count not in (0, 3) for server in counts for count in server) or 24 in map(sum, counts):
        raise Failed(f"the connections of the paths are {counts}")


@scenario(Nginx, HAProxy)
def clients_by_ipv6(proxy, setting):
    port = free_port()
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", port))
        except OSError as error:
            return f"left out: {error}"
    line = both(("    listen 443 ssl;\n", f"    listen 443 ssl;\n    listen [::1]:{port} ssl;\n"),
                ("    bind :80\n", f"    bind :80\n    bind ::1:{port} ssl crt /etc/haproxy/chat.pem\n"))(proxy)
    for options, changes in ((TRUSTED, []), ("forwarded=127.0.0.1", FORWARDED(proxy))):
        front = proxy(setting, setting.server(options), [line, *changes])
        with socket.create_connection(("::1", port)) as connection:
            http = Http(front.context().wrap_socket(connection, server_hostname=NAME))
            equal(ask(http, "GET", "/", f"Host: {NAME}")[2].decode(), f"::1 https {NAME}", f"the client with {options}")
        kill(front.process)


@scenario(Nginx, HAProxy)
def crash_of_one_server(proxy, setting):
    first, _, front = two_servers(proxy, setting)
    client = Client(front)
    time.sleep(0.5)
    first.process.kill()
    time.sleep(2.5)
    return client.stop()


@scenario(Nginx, HAProxy)
def restart_of_the_only_server(proxy, setting):
    """While the server does not listen, the proxy answers itself: the symptom that socket activation ends."""
    server = setting.server(TRUSTED)
    front = proxy(setting, server)
    front.get("/")
    server.stop()
    equal(front.request("GET", "/")[0], both(502, 503)(proxy), "the response")


@scenario(Nginx, HAProxy)
def socket_activation(proxy, setting):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        server = setting.server(TRUSTED, address=address, passed_on=listener)
        # HAProxy without a health check, as the guide says.
        front = proxy(setting, server, WITHOUT_CHECKS(proxy))
        peer, client = front.websocket(), Client(front)
        for _ in range(3):
            server.process.terminate()
            if peer:
                equal(peer.next()[1][:2], b"\x03\xe9", "the code of the Close frame")
                peer.send(CLOSE, b"\x03\xe9")
                peer = None
            server.process.wait(15)
            time.sleep(0.5)
            server.start()
            time.sleep(0.3)
        return client.stop()


@scenario(Nginx, HAProxy)
def reload(proxy, setting):
    server = setting.server(TRUSTED)
    front = proxy(setting, server)
    peer, workers = front.websocket(), front.workers()
    client = Client(front)
    time.sleep(0.3)
    old = front.connect().getpeercert(binary_form=True)
    new = setting.certificate("renewed")
    context = front.context()
    context.load_verify_locations(new / "fullchain.pem")
    front.context = lambda: context
    for name in ("fullchain.pem", "privkey.pem"):
        shutil.copy(new / name, front.certificates / name)
    front.install_certificates()
    front.reload()
    wait_until(lambda: front.connect().getpeercert(binary_form=True) != old, "the new certificate")
    equal(bool(set(workers) & set(front.workers())) or proxy is HAProxy, True, "the old worker lives")
    echo(peer)
    echo(front.websocket())
    silent(peer, 1)
    echo(peer)
    return client.stop()


@scenario(Nginx, HAProxy)
def reload_with_a_limit(proxy, setting):
    server = setting.server(TRUSTED)
    if proxy is Nginx:
        limit = guide.inline("worker_shutdown_timeout 1h;").replace("1h", "1s")
        front = proxy(setting, server, more=f"events {{ worker_connections 768; }}\n{limit}")
    else:
        front = proxy(setting, server, [of_global(guide.inline("hard-stop-after 1h").replace("1h", "1s"))])
    peer = front.websocket()
    echo(peer)
    front.reload()
    within(cut(peer), 0.5, 4, "the end")
    server.expect("close 1006")
    echo(front.websocket())


@scenario(Nginx, HAProxy)
def large_bodies(proxy, setting):
    front = proxy(setting, setting.server(TRUSTED))
    status, _, body = front.request("POST", "/size", body=bytes(100_000))
    equal((status, b"nginx" in body), (413, False), "the server's response to 100 KB")
    front = proxy(setting, setting.server(TRUSTED, "max_body_size=4000000"))
    status, _, body = front.request("POST", "/size", body=bytes(2_000_000))
    equal((status, body[:7]), both((413, b"<html>\r"), (200, b"2000000"))(proxy), "the response to 2 MB")
    if proxy is Nginx:
        front = proxy(setting, setting.server(TRUSTED, "max_body_size=4000000"), [("client_max_body_size 1m", "client_max_body_size 4m")])
        equal(front.request("POST", "/size", body=bytes(2_000_000))[2], b"2000000", "the response to 2 MB")


@scenario(Nginx, HAProxy)
def unused_connections(proxy, setting):
    """The proxy closes them before the server's default of 30 s."""
    server = setting.server(TRUSTED, "keep_alive_timeout=300000")
    before, front = server.count_sockets(), proxy(setting, server, WITHOUT_CHECKS(proxy))
    http = Http(front.connect())
    ask(http, "GET", "/", front.host())
    wait_until(lambda: server.count_sockets() == before, "the end of the unused connection", both(25, 2)(proxy))


def race(front, pause):
    """The status of a request that the proxy reads when the server has closed the connection of the request before. The proxy
    is stopped meanwhile."""
    http = Http(front.connect())
    equal(ask(http, "POST", "/size", front.host(), body=b"1")[0], 200, "the first response")
    (worker,) = front.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        http.write(f"POST /size HTTP/1.1\r\n{front.host()}\r\nContent-Length: 1\r\n\r\n1".encode())
        time.sleep(pause)
    finally:
        os.kill(worker, signal.SIGCONT)
    return int(http.until(b"\r\n").split()[1])


@scenario(Nginx, HAProxy)
def keep_alive_race(proxy, setting):
    short = setting.server(TRUSTED, "keep_alive_timeout=500")
    if proxy is HAProxy:
        # Without `option http-server-close` it depends on the moment.
        return equal(race(proxy(setting, short), 1.5), 200, "the response")
    front = proxy(setting, short)
    equal(race(front, 1.5), 502, "the response after the server's timeout")
    if "upstream prematurely closed connection" not in front.log.read_text():
        raise Failed(f"nginx's log has another line: {front.log.read_text()}")
    front = proxy(setting, setting.server(TRUSTED), [("keepalive_timeout 20s", "keepalive_timeout 1s")])
    equal(race(front, 1.5), 200, "the response after nginx's timeout")


@scenario(Nginx, HAProxy)
def descriptors_of_the_server(proxy, setting):
    # 200 less 64.
    server = setting.server(TRUSTED, files=200)
    front = proxy(setting, server, WITHOUT_CHECKS(proxy))
    peers = [front.websocket() for _ in range(136)]
    status, fields, _ = front.refused()
    equal((status, "retry-after" in fields), (503, True), "the response to one too many")
    for peer in peers:
        echo(peer)


@scenario(Nginx)
def connections_of_a_worker(proxy, setting):
    server = setting.server(TRUSTED)
    front = proxy(setting, server, more="events { worker_connections 20; }")
    peers = []
    with contextlib.suppress(Failed, OSError):
        while len(peers) < 20:
            peers.append(front.websocket())
    if not 5 <= len(peers) <= 10:
        raise Failed(f"{len(peers)} WebSockets in 20 connections")
    wait_until(lambda: "20 worker_connections are not enough" in front.log.read_text(), "the line in nginx's log")


@scenario(HAProxy)
def connections_of_haproxy(proxy, setting):
    front = proxy(setting, setting.server(TRUSTED), [of_global("maxconn 5")])
    peers = [front.websocket() for _ in range(5)]
    for peer in peers:
        echo(peer)
    try:
        connection = socket.create_connection(("127.0.0.1", front.port), 2)
        context = front.context()
        context.wrap_socket(connection, server_hostname=NAME)
        raise AssertionError("a sixth client")
    except TimeoutError:
        pass
    peers.pop().leave()
    echo(front.websocket())


@scenario(Nginx, HAProxy)
def limit_for_each_client(proxy, setting):
    """The server's limit counts the proxy as one client unless it is trusted; the proxy's limit counts clients."""
    front = proxy(setting, setting.server("max_connections_per_ip=2"))
    held = [front.websocket(source=f"127.0.0.{number}") for number in (11, 12)]
    equal(front.refused(source="127.0.0.13")[0], 429, "the response to a third client of a proxy that is not trusted")
    front = proxy(setting, setting.server(TRUSTED, "max_connections_per_ip=2"))
    held += [front.websocket(source=f"127.0.0.{number}") for number in (11, 12, 13, 14)]

    if proxy is Nginx:
        inside = guide.block("nginx", "limit_conn clients").replace("50", "2")
        changes = [("map $http_upgrade", guide.block("nginx", "limit_conn_zone") + "map $http_upgrade"),
                   ("    location / {", inside + "    location / {")]
    else:
        changes = [("    default_backend", guide.block("haproxy", "stick-table").replace("gt 50", "gt 2") + "    default_backend")]
    front = proxy(setting, setting.server(TRUSTED), changes)
    held += [front.websocket(source="127.0.0.11") for _ in range(2)]
    equal(front.refused(source="127.0.0.11")[0], 429, "the response to a client's third connection")
    echo(front.websocket(source="127.0.0.12"))


def two_addresses(proxy, setting):
    """The server of the guide with two addresses, each of which has its own ports."""
    port = free_port()
    server = setting.server(TRUSTED, address=f"0.0.0.0:{port}")
    servers = {f"127.0.0.{number}:8000": f"127.0.0.{number}:{port}" for number in (1, 2)}
    lines = both(guide.lines("nginx", "127.0.0.2:8000"), guide.lines("haproxy", "127.0.0.2:8000"))(proxy)
    return server, proxy(setting, servers, [(proxy.SERVER, lines)])


@scenario(Nginx, HAProxy)
def several_addresses(proxy, setting):
    _, front = two_addresses(proxy, setting)
    for _ in range(4):
        equal(front.get("/"), f"{CLIENT} https {NAME}:{front.port}", "the client")
    peers = [front.websocket() for _ in range(4)]
    for peer in peers:
        echo(peer)


def use_up_ports(proxy, setting):
    """A network namespace with ten ports for connections."""
    links.unshare()
    links.run("ip", ["link set lo up"])
    subprocess.run(["sh", "-c", "echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range"], check=True)
    front = proxy(setting, setting.server(TRUSTED))
    held = []
    with contextlib.suppress(Failed):
        while len(held) < 20:
            held.append(front.websocket(source=f"127.0.1.{len(held) + 1}"))
    if not 7 <= len(held) <= 10:
        raise Failed(f"{len(held)} WebSockets with ten ports")
    equal(front.refused(source="127.0.2.1")[0], both(502, 503)(proxy), "the response without a port")
    if proxy is Nginx:
        wait_until(lambda: "99: Cannot assign requested address" in front.log.read_text(), "the line in nginx's log")
    echo(held[0])
    _, front = two_addresses(proxy, setting)
    held = [front.websocket(source=f"127.0.3.{number}") for number in range(1, 15)]
    for peer in held:
        echo(peer)


@scenario(Nginx, HAProxy)
def ports_of_the_proxy(proxy, setting):
    if missing := links.namespaces_missing():
        return f"left out: {missing}"
    failure = []

    def attempt():
        try:
            use_up_ports(proxy, setting)
        except Exception as error:
            failure.append(error)

    # A namespace belongs to a thread.
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


@plain
def systemd_units(setting):
    if not shutil.which("systemd-analyze"):
        return "left out: there is no systemd-analyze"
    unit = guide.replace(guide.block("ini", "ExecStart"), [("/usr/local/bin/chat", str(setting.program))])
    (setting.folder / "chat.service").write_text(unit)
    (setting.folder / "chat.socket").write_text(guide.block("ini", "ListenStream"))
    command = ["systemd-analyze", "verify", "--man=no", setting.folder / "chat.service", setting.folder / "chat.socket"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    complaints = [line for line in result.stderr.splitlines() if "chat." in line]
    if complaints or result.returncode != 0:
        raise Failed(f"systemd-analyze: {result.stderr}")


@plain
def first_process_of_a_container(setting):
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0 or subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        return "left out: no namespace of processes"
    server = setting.server(TRUSTED, prefix=command)
    children = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    os.kill(int(children.read_text()), signal.SIGTERM)
    equal(server.process.wait(15), 0, "the exit code")
