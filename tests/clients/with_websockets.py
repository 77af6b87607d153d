"""The Python library `websockets` as the client. usage: with_websockets.py PORT [AUTHORITY]"""

import asyncio
import ssl
import sys

import websockets

TLS = ssl.create_default_context(cafile=sys.argv[2]) if len(sys.argv) > 2 else None
URL = f"wss://localhost:{sys.argv[1]}/" if TLS else f"ws://127.0.0.1:{sys.argv[1]}/"
MESSAGES = ["hello", "", "grüße 日本 𝄞", b"\x00\xff", b"", "x" * (1 << 20), bytes(range(256)) * 4096]


async def main():
    async with websockets.connect(URL, subprotocols=["other", "echo"], max_size=None, ssl=TLS) as socket:
        assert socket.subprotocol == "echo", socket.subprotocol
        for message in MESSAGES:
            await socket.send(message)
            assert await socket.recv() == message, message[:20]
        await socket.send(["in ", "three ", "fragments"])
        assert await socket.recv() == "in three fragments"
        await asyncio.wait_for(await socket.ping(b"are you there"), 10)
        await socket.close(4001, "bye")
    assert (socket.close_code, socket.close_reason) == (4001, "bye"), (socket.close_code, socket.close_reason)
    async with websockets.connect(URL, ssl=TLS) as socket:
        assert socket.subprotocol is None
    assert socket.close_code == 1000, socket.close_code


asyncio.run(asyncio.wait_for(main(), 60))
