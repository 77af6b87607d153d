"""The program of the tutorial, as `cargo run` starts it."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

# The clients of tests/slow/run serve here too.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "slow"))
from links import Failed

# Seconds that anything but a build may take.
PATIENCE = 20


class Server:
    def __init__(self, folder, environment, port):
        build = subprocess.run(["cargo", "build"], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        if build.returncode != 0:
            raise Failed(build.stderr)
        self.log = tempfile.TemporaryFile()
        # A group of its own, which gets Ctrl-C as in a terminal.
        self.process = subprocess.Popen(
            ["cargo", "run", "--quiet"], cwd=folder, env=environment, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self.is_interrupted = False
        try:
            self.prints([f"http://127.0.0.1:{port}/"])
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def prints(self, lines):
        """Waits until each of these lines has been printed."""
        deadline = time.monotonic() + PATIENCE
        while missing := set(lines) - set(self.printed().splitlines()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"the server has not printed {missing.pop()!r}, only {self.printed()!r}")
            time.sleep(0.02)

    def printed(self):
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def interrupt(self):
        """Ctrl-C."""
        if not self.is_interrupted:
            self.is_interrupted = True
            os.killpg(self.process.pid, signal.SIGINT)

    def ends(self):
        """After Ctrl-C the server ends by itself, as a success."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed("the server does not end") from None
        if code != 0:
            raise Failed(f"the server ends with {code}: {self.printed()}")

    def end(self, number):
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait()
        self.log.close()
