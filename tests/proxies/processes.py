"""Our server, nginx and HAProxy as processes of a scenario."""

import contextlib
import itertools
import os
import pathlib
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time

import guide
import links
from guide import Failed
from peers import HANDSHAKE, Http, WebSocket

NAME = "chat.example.com"
# The address of clients. The proxies connect to the server from 127.0.0.1.
CLIENT = "127.0.0.2"
PORTS = itertools.count(12_000 + os.getpid() % 100 * 100)
PORTS_LOCK = threading.Lock()
# All that run, for the case that the run is interrupted.
RUNNING = set()


def free_port():
    """A port below those that the system chooses for connections."""
    while True:
        with PORTS_LOCK:
            port = next(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def wait_until(condition, what, within=10):
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {within} s")
        time.sleep(0.02)


def kill(process):
    """Ends a process and those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    RUNNING.discard(process)


def start(command, **arguments):
    process = subprocess.Popen([str(part) for part in command], start_new_session=True, **arguments)
    RUNNING.add(process)
    return process


def dial(address, source):
    connection = socket.socket()
    # IP_BIND_ADDRESS_NO_PORT: the system chooses the port when it knows both addresses, so that no port is taken from others.
    connection.setsockopt(socket.IPPROTO_IP, 24, 1)
    connection.settimeout(10)
    connection.bind((source, 0))
    connection.connect(address)
    return connection


class Setting:
    """The processes of one scenario, and a folder for their files."""

    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        self.ends, self.logs, self.numbers = contextlib.ExitStack(), [], itertools.count()

    def server(self, *options, **arguments):
        return Server(self, options, **arguments)

    def run(self, name, command, **arguments):
        """Starts a process that ends with the scenario. Returns it and the file with its output."""
        log = self.folder / f"{name}-{next(self.numbers)}.log"
        self.logs.append(log)
        with open(log, "w") as output:
            process = start(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **arguments)
        self.ends.callback(kill, process)
        return process, log

    def certificate(self, name="chat"):
        """A self-signed certificate and its key, as certbot names the files."""
        folder = self.folder / name
        folder.mkdir()
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
        names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        subprocess.run([*command, *files, *names], check=True, capture_output=True)
        return folder


class Server:
    """`server.rs` as a process."""

    def __init__(self, setting, options, address=None, files=None, passed_on=None, prefix=()):
        self.setting, self.options, self.files = setting, options, files
        self.passed_on, self.prefix = passed_on, prefix
        self.address = address or f"127.0.0.1:{free_port()}"
        self.start()

    def start(self):
        command, arguments = [*self.prefix, self.setting.program, self.address, *self.options], {}
        if self.files:
            # Without this, the hard limit allows the server more.
            limit = (self.files, self.files)
            arguments["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        if self.passed_on:
            # As systemd does it: the first socket is descriptor 3.
            descriptor = self.passed_on.fileno()
            shell = f'exec 3<&{descriptor}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
            command = ["bash", "-c", shell, "bash", self.setting.program, "activated", *self.options]
            arguments["pass_fds"] = [descriptor]
        self.process, self.log = self.setting.run("server", command, **arguments)
        self.expect("listening")

    def lines(self):
        return self.log.read_text().splitlines()

    def expect(self, line, within=10):
        """Waits for a line that begins so."""
        wait_until(lambda: any(printed.startswith(line) for printed in self.lines()), f"the server prints {line!r}", within)

    def count_sockets(self):
        return links.count_sockets(self.process.pid)

    def stop(self):
        """Ends the server gracefully."""
        self.process.terminate()
        try:
            code = self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            raise Failed("the server does not end after SIGTERM") from None
        if code != 0:
            raise Failed(f"the server ended with {code}")

    def connect(self, source=CLIENT):
        host, port = self.address.split(":")
        return dial((host, int(port)), source)


class Proxy:
    """A proxy with a configuration of the guide. `changes` are made to its text."""

    def __init__(self, setting, servers, changes=(), more=""):
        self.setting = setting
        self.folder = setting.folder / f"{self.name}-{next(setting.numbers)}"
        self.folder.mkdir()
        self.port, self.plain_port = free_port(), free_port()
        if isinstance(servers, Server):
            servers = {"127.0.0.1:8000": servers.address}
        self.servers, self.more = servers, more
        self.certificates = setting.certificate(f"live-{next(setting.numbers)}")
        self.install_certificates()
        self.configure(changes)
        self.process, self.log = setting.run(self.name, self.command())
        wait_until(lambda: self.is_listening(self.port) or self.process.poll() is not None, f"{self.name} listens")
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended: {self.log.read_text()}")

    @staticmethod
    def is_listening(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def install_certificates(self):
        pass

    def context(self):
        return ssl.create_default_context(cafile=self.certificates / "fullchain.pem")

    def connect(self, source=CLIENT):
        connection = dial(("127.0.0.1", self.port), source)
        return self.context().wrap_socket(connection, server_hostname=NAME)

    def host(self):
        return f"Host: {NAME}:{self.port}"

    def websocket(self, *headers, path="/", source=CLIENT):
        return WebSocket(self.connect(source), path, headers=[self.host(), *headers])

    def refused(self, *headers, source=CLIENT):
        """A handshake that is not accepted: the status, the fields and the body of the response."""
        return self.request("GET", "/", *headers, *HANDSHAKE, source=source)

    def request(self, method, path, *headers, body=b"", source=CLIENT):
        return ask(Http(self.connect(source)), method, path, self.host(), *headers, body=body)

    def get(self, path, *headers, source=CLIENT):
        """The body of a response with the status 200."""
        status, _, body = self.request("GET", path, *headers, source=source)
        if status != 200:
            raise Failed(f"{path} is answered with {status} {body}")
        return body.decode()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def workers(self):
        """The processes that serve."""
        return [int(pid) for pid in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]


def ask(http, method, path, *headers, body=b""):
    """A request on a connection. Returns the status, the fields and the body of the response."""
    if body:
        headers = [*headers, f"Content-Length: {len(body)}"]
    http.write("\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""]).encode() + body)
    first, *fields = http.until(b"\r\n\r\n").decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in fields)}
    return int(first.split()[1]), fields, http.body(fields)


class Nginx(Proxy):
    name = "nginx"
    SERVER = "    server 127.0.0.1:8000;"

    def configure(self, changes=()):
        text = guide.replace(guide.block("nginx", "listen 443"), changes)
        files = f"/etc/letsencrypt/live/{NAME}"
        text = guide.replace(text, [
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            (files, str(self.certificates)),
            *self.servers.items(),
        ])
        # What Debian's nginx.conf has around it.
        user = "user root;\n" if os.geteuid() == 0 else ""
        folders = "".join(
            f"    {name}_temp_path {self.folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        more = self.more or "events { worker_connections 768; }"
        (self.folder / "chat.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {self.folder}/pid;\nerror_log stderr;\n{more}\n"
            f"http {{\n    access_log off;\n{folders}    include {self.folder}/chat.conf;\n}}\n"
        )

    def command(self):
        return ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf"]

    def reload(self):
        self.signal(signal.SIGHUP)


class HAProxy(Proxy):
    name = "haproxy"
    SERVER = "    server chat1 127.0.0.1:8000 check"

    def install_certificates(self):
        """Runs the hook of the guide for certbot."""
        hook = guide.replace(guide.block("sh", "/etc/haproxy/chat.pem"), [
            ("/etc/haproxy/chat.pem", f"{self.folder}/chat.pem"),
            ("systemctl reload haproxy", "true"),
        ])
        subprocess.run(["sh", "-ec", hook], env=os.environ | {"RENEWED_LINEAGE": str(self.certificates)}, check=True)

    def configure(self, changes=()):
        text = guide.replace(guide.block("haproxy", "bind :443"), changes)
        text = guide.replace(text, [
            ("bind :443 ", f"bind 127.0.0.1:{self.port} "),
            ("bind :80\n", f"bind 127.0.0.1:{self.plain_port}\n"),
            ("/etc/haproxy/chat.pem", f"{self.folder}/chat.pem"),
            *self.servers.items(),
        ])
        (self.folder / "haproxy.cfg").write_text(text)

    def command(self):
        return ["haproxy", "-W", "-f", self.folder / "haproxy.cfg"]

    def reload(self):
        """A master that has just started can miss the signal."""
        forked = lambda: self.log.read_text().count("New worker")
        before = forked()
        for _ in range(5):
            self.signal(signal.SIGUSR2)
            with contextlib.suppress(Failed):
                return wait_until(lambda: forked() > before, "HAProxy reloads", 3)
        raise Failed("HAProxy does not reload")
