"""openssl s_client and curl as the clients. usage: with_programs.py PORT AUTHORITY"""

import subprocess
import sys
import tempfile
import time

PORT, AUTHORITY = sys.argv[1], sys.argv[2]
GET = "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
S_CLIENT = ["openssl", "s_client", "-connect", f"localhost:{PORT}", "-CAfile", AUTHORITY, "-servername", "localhost",
            "-verify_return_error"]
CIPHERS = {
    "-tls1_3": [["-ciphersuites", name] for name in
                ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")],
    "-tls1_2": [["-cipher", name] for name in
                ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305")],
}


def s_client(options, requests):
    """Sends requests, one after the other, and returns everything that openssl printed."""
    command = [*S_CLIENT, *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for request in requests:
        process.stdin.write(request)
        process.stdin.flush()
        time.sleep(0.3)
    out, _ = process.communicate(timeout=30)
    return out


def main():
    last = GET.format("Connection: close\r\n")
    for version, ciphers in CIPHERS.items():
        for cipher in ciphers:
            out = s_client([version, *cipher], [GET.format(""), last])
            assert out.count("HTTP/1.1 200 OK") == 2 and "Verify return code: 0" in out, out
            assert cipher[1] in out, out
            # An orderly end: openssl complains about one without close_notify.
            assert "unexpected eof" not in out, out
    # New keys, of the client alone (k) and of both (K), between requests.
    out = s_client(["-tls1_3"], [GET.format(""), "K\n", GET.format(""), "k\n", "K\n", GET.format(""), last])
    assert out.count("KEYUPDATE") == 3 and out.count("HTTP/1.1 200 OK") == 4, out
    # A session is resumed.
    for version in CIPHERS:
        with tempfile.NamedTemporaryFile() as session:
            out = s_client([version, "-sess_out", session.name], [last])
            assert "New, TLS" in out or "HTTP/1.1 200 OK" in out, out
            out = s_client([version, "-sess_in", session.name], [last])
            assert "Reused, TLS" in out and "HTTP/1.1 200 OK" in out, out
    # Old versions, and other protocols only.
    assert "Cipher is (NONE)" in s_client(["-tls1_1"], [last])
    assert "no application protocol" in s_client(["-alpn", "h2"], [last])
    assert "ALPN protocol: http/1.1" in s_client(["-alpn", "h2,http/1.1"], [last])
    for options in ([], ["--tls-max", "1.2"], ["--http1.1"], ["--http2"]):
        url = f"https://localhost:{PORT}/"
        command = ["curl", "--silent", "--show-error", "--fail", "--cacert", AUTHORITY, *options, url, url]
        out = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert out.returncode == 0 and out.stdout.count("echo server") == 2, out
    assert subprocess.run(["curl", "--silent", f"https://localhost:{PORT}/"], timeout=30).returncode == 60, "an unknown issuer"
    assert subprocess.run(["curl", "--silent", f"http://localhost:{PORT}/"], timeout=30).returncode in (1, 52, 56), "no TLS"


main()
