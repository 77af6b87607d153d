"""Puts the Autobahn TestSuite into a virtual environment, so that it runs on Python 3.

The suite is the outside judge of RFC 6455 servers, and a Python 2 program that nobody has ported. What stands in its way is
little: the syntax, which lib2to3 translates, and that it takes a `str` for bytes. Its own idea of a string is kept (each
character one octet) and translated only where it meets the library that sends and receives.
"""

import pathlib
import re
import subprocess
import sys
import sysconfig
import venv

PACKAGES = ["setuptools<70", "wheel", "Twisted==22.10.0", "txaio==2.1.0", "six==1.16.0", "wsaccel==0.6.7",
            "pyOpenSSL==24.2.1", "service_identity==24.1.0", "jinja2==3.1.4"]
SUITE = ["autobahn==0.10.9", "autobahntestsuite==25.10.1"]

# Put beside the suite's modules: what Python 2 did with strings.
OCTETS = '''
import binascii as _binascii
import json as _json


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else bytes(text)


def to_text(octets):
    return octets.decode("latin-1") if isinstance(octets, (bytes, bytearray)) else octets


def b2a_hex(octets):
    return _binascii.b2a_hex(to_bytes(octets)).decode()


hexlify = b2a_hex


def dumps(value, **options):
    return _json.dumps(value, default=to_text, **options)


class OctetWire(object):
    """Where the suite hands something to the library: bytes from here on."""

    def sendFrame(self, opcode, payload=b"", *rest, **options):
        return super().sendFrame(opcode, to_bytes(payload), *rest, **options)

    def sendMessage(self, payload, *rest, **options):
        return super().sendMessage(to_bytes(payload), *rest, **options)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(to_bytes(payload), sync)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        reason = None if reasonUtf8 is None else to_bytes(reasonUtf8)
        return super().sendCloseFrame(code, reason, isReply)
'''

# The changes: a file, the old text, the new text. Each old text has to be found, or the suite is another version.
IN_SUITE = [
    # Literals beyond ASCII are octets.
    ("case/case6_2_[123].py", r"\A.*", "# -*- coding: latin-1 -*-"),
    # The validator of the library wants bytes.
    ("case/case6_x_x.py", r"v\.validate\(vss\[:i\]\)", 'v.validate(vss[:i].encode("latin-1"))'),
    # Hex dumps are of octets.
    ("case/*.py", r"^import ((?:.*, )?)binascii$", r"import \1sys; from autobahntestsuite import octets as binascii"),
    # Events are compared by value: their pickles differ by object identity.
    ("case/case.py", r"pickle\.dumps\((\w+)\) == pickle\.dumps\((\w+)\)", r"list(map(list, \1)) == list(map(list, \2))"),
    # No class may name `object` before a class derived from it.
    ("case/*.py", r"\(object, Case, ?\)", "(Case, )"),
    # A case that is not part of the suite, and an unused mode of wstest: both need removed modules.
    ("case/__init__.py", r"^.*case9_9_1.*\n", ""),
    ("wstest.py", r"^from \. import serializer$", "serializer = None"),
    # Lengths are whole numbers.
    ("case/case10_1_1.py", r"len\(self\.payload\) / self", "len(self.payload) // self"),
    # Compressed messages are bytes.
    ("case/case12_x_x.py", r"msg = ''", "msg = b''"),
    ("case/case12_x_x.py", r"^(def onMessage\(self, msg, binary\):)", r"\1\n   msg = msg.encode('latin-1')"),
    # The fuzzer itself, which also writes HTML pages with code that was not ported.
    ("fuzzing.py", r"^class FuzzingProtocol:", "from autobahntestsuite import octets\n\n\nclass FuzzingProtocol(octets.OctetWire):"),
    ("fuzzing.py", r"binascii\.b2a_hex\(", "octets.b2a_hex("),
    ("fuzzing.py", r"dd = data\[:maxlen\] \+ ellipses", "dd = octets.to_bytes(data)[:maxlen] + b' ...'"),
    ("fuzzing.py", r"^         dd = data$", "         dd = octets.to_bytes(data)"),
    ("fuzzing.py", r"p = ''\.join\(payload\)", "p = b''.join(payload)"),
    ("fuzzing.py", r"self\.runCase\.onPong\(payload\)", "self.runCase.onPong(octets.to_text(payload))"),
    ("fuzzing.py", r"self\.runCase\.onMessage\(msg, binary\)", "self.runCase.onMessage(octets.to_text(msg), binary)"),
    ("fuzzing.py", r"json\.dumps\(", "octets.dumps("),
    ("fuzzing.py", r"produceHtml = True", "produceHtml = False"),
]
IN_LIBRARY = [("websocket/protocol.py", r"payload_len / len\(payload\)", "payload_len // len(payload)")]


def install(folder):
    """The suite's `wstest`, installed in `folder` if it is not there yet."""
    folder = pathlib.Path(folder)
    wstest, done = folder / "bin" / "wstest", folder / "ported"
    if done.exists():
        return wstest
    print(f"installing the Autobahn TestSuite in {folder}", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", *SUITE], check=True)
    site = pathlib.Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    suite, library = site / "autobahntestsuite", site / "autobahn"
    translate = [sys.executable, "-W", "ignore", "-m", "lib2to3", "--write", "--nobackups", "--no-diffs", suite]
    subprocess.run(translate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for file in suite.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n"))
    (suite / "octets.py").write_text(OCTETS)
    for root, changes in [(suite, IN_SUITE), (library, IN_LIBRARY)]:
        for pattern, before, after in changes:
            change(root, pattern, before, after)
    subprocess.run([wstest, "--help"], check=True, stdout=subprocess.DEVNULL)
    done.touch()
    return wstest


def change(root, pattern, before, after):
    count = 0
    for file in root.glob(pattern):
        text = file.read_bytes().decode("latin-1")
        changed, times = re.subn(before, after, text, flags=re.MULTILINE)
        if times:
            file.write_bytes(changed.encode("latin-1"))
            count += times
    if not count:
        sys.exit(f"nothing in {root}/{pattern} looks like {before!r}: is this another version of the suite?")
