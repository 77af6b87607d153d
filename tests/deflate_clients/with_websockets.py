"""The Python library `websockets` as a client with compression. usage: with_websockets.py PORT"""

import asyncio
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

URL = f"ws://127.0.0.1:{sys.argv[1]}/"
WORDS = " ".join(f"{number * 7919 % 1000} words" for number in range(5000))
MESSAGES = ["hello", "", "grüße 日本 𝄞 " * 50, b"\x00\xff", WORDS, WORDS[:300], WORDS[100:400], bytes(range(256)) * 4096, WORDS]


async def echo(**parameters):
    """Exchanges all messages. Returns whether compression was agreed on."""
    factory = ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5}, **parameters)
    async with websockets.connect(URL, compression=None, extensions=[factory], max_size=None) as socket:
        for _ in range(2):
            for message in MESSAGES:
                await socket.send(message)
                assert await socket.recv() == message, (parameters, message[:20])
        await socket.send(["in ", "three ", "fragments"])
        assert await socket.recv() == "in three fragments"
        return bool(socket.protocol.extensions)


async def main():
    async with websockets.connect(URL) as socket:
        assert socket.protocol.extensions, "the default offer is accepted"
    for bits in range(8, 16):
        for server_alone in (False, True):
            agreed = await echo(server_max_window_bits=bits, server_no_context_takeover=server_alone, client_max_window_bits=True)
            assert agreed == (bits > 8), f"{bits} bits of the server"
    # zlib cannot compress with 8 bits.
    for bits in range(9, 16):
        for client_alone in (False, True):
            assert await echo(client_max_window_bits=bits, client_no_context_takeover=client_alone), f"{bits} bits of the client"


asyncio.run(asyncio.wait_for(main(), 100))
