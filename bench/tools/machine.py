"""Running a server and the load generator."""

import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time


def exit_on_term():
    """So that servers are ended on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def allow_many_files():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cores(workers):
    """The cores of the server and of the load generator. With several threads the server may use both."""
    first, *others = sorted(os.sched_getaffinity(0))
    second = others[0] if others else first
    return ([first] if workers == 1 else sorted({first, second})), [second]


def pinned(cores):
    return ["taskset", "-c", ",".join(map(str, cores))]


class Server:
    """A server that runs as long as the `with` block, on a free port of 127.0.0.1."""

    def __init__(self, program, options=(), wrapper=(), environment=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = " ".join([pathlib.Path(program[-1]).name, *options])
        command = [*wrapper, *program, str(self.port), *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def end(self, number, child=False):
        """Asks it to end and waits for it; `child` if the process that was started is not the server but its parent."""
        os.kill(self.child() if child else self.pid, number)
        self.process.wait(timeout=60)

    def child(self):
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                if int(stat.rsplit(")", 1)[1].split()[1]) == self.pid:
                    return int(entry.name)
        raise RuntimeError(f"{self.name} has no child")

    def wait(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not listen")


def load(folder, mode, port, pid, options, wrapper=(), environment=None):
    """One run of the load generator: its result."""
    command = [*wrapper, str(pathlib.Path(folder) / "load"), mode, "--port", str(port), *options]
    if pid is not None:
        command += ["--pid", str(pid)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip())
    return json.loads(result.stdout)
