"""The Python library `aiohttp` as the client, also of the plain HTTP side. usage: with_aiohttp.py PORT [AUTHORITY]"""

import asyncio
import ssl
import sys

import aiohttp

TLS = ssl.create_default_context(cafile=sys.argv[2]) if len(sys.argv) > 2 else True
URL = f"http://127.0.0.1:{sys.argv[1]}/" if TLS is True else f"https://localhost:{sys.argv[1]}/"
TEXTS = ["hello", "", "grüße 日本 𝄞", "x" * (1 << 20)]
BINARIES = [b"\x00\xff", b"", bytes(range(256)) * 4096]


async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=TLS)) as session:
        for _ in range(3):
            async with session.get(URL) as response:
                assert response.status == 200 and "echo server" in await response.text()
        async with session.ws_connect(URL, protocols=["echo"], max_msg_size=0) as socket:
            assert socket.protocol == "echo", socket.protocol
            for text in TEXTS:
                await socket.send_str(text)
                assert await socket.receive_str() == text
            for binary in BINARIES:
                await socket.send_bytes(binary)
                assert await socket.receive_bytes() == binary
            await socket.ping(b"are you there")
            await socket.send_str("after the ping")
            assert await socket.receive_str() == "after the ping"
            await socket.close(code=4001, message=b"bye")
            assert socket.close_code == 4001, socket.close_code


asyncio.run(asyncio.wait_for(main(), 60))
