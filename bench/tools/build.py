"""Building the load generator and the servers, and installing those that npm has."""

import functools
import json
import os
import pathlib
import shutil
import subprocess

BENCH = pathlib.Path(__file__).resolve().parents[1]
ROOT = BENCH.parent

CORE = ["load", "floor_epoll", "floor_tokio", "ours"]
NPM_PACKAGES = {"node": "ws@8.23.0", "bun": "bun@1.4.5"}


class Missing:
    def __init__(self):
        self.left_out = []
        self.failed = []


def core():
    """The load generator, the floors and our servers: their folder."""
    cargo([], CORE)
    return core_folder()


def clients():
    """Our clients and their server: their folder."""
    cargo(["--features", "client"], ["client_echo", "client_load"])
    return core_folder()


def tls():
    """Our server over TLS, and the load generator for it: their folder."""
    cargo(["--features", "tls"], ["ours_tls", "load"])
    return core_folder()


def secure():
    """Our server over TLS, a peer over TLS, and the load generator for both: their folder."""
    cargo(["--features", "peers-tls"], ["ours_tls", "peer_tokio_rustls", "load"])
    return core_folder()


def hyper():
    """Our middleware in a server of hyper: its folder."""
    cargo(["--features", "hyper"], ["ours_hyper"])
    return core_folder()


def core_folder():
    return target() / "release"


def everything(servers):
    """The command and the environment of each server, and the missing programs."""
    core()
    started, missing = {}, Missing()
    for server in servers:
        try:
            if server.needs == "peers":
                cargo(["--features", "peers"], [server.program])
            if server.needs in NPM_PACKAGES:
                started[server.name] = [server.needs, str(BENCH / "peers" / server.program)], npm(server.needs)
            else:
                started[server.name] = [str(core_folder() / server.program)], None
        except LeftOut as error:
            missing.left_out.append(f"{server.name}: {error}")
        except subprocess.CalledProcessError as error:
            missing.failed.append(f"{server.name}: {error}")
    return started, missing


class LeftOut(Exception):
    pass


def cargo(options, programs):
    """Builds only the named targets, so that features of a dependency of one peer do not get into the others."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "react-websocket-bench", *options]
    for program in programs:
        command += ["--bin", program]
    subprocess.run(command, cwd=ROOT, check=True)


def npm(runtime):
    """Installs the package under the target directory, and returns the environment in which it is found."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise LeftOut("Node or npm is not there")
    folder = target() / "bench" / runtime
    package = NPM_PACKAGES[runtime]
    mark = folder / package.replace("@", "-")
    if not mark.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", package], cwd=folder, check=True)
        mark.touch()
    modules = folder / "node_modules"
    search = f"{modules / '.bin'}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"NODE_PATH": str(modules), "PATH": search}


@functools.cache
def target():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    return pathlib.Path(json.loads(metadata)["target_directory"])
