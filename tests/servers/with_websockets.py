"""The server of Python's websockets. usage: with_websockets.py PORT [CERTIFICATE KEY]"""

import asyncio
import http
import ssl
import sys

from websockets.asyncio.server import serve


async def handle(connection):
    async for message in connection:
        if message == "close":
            await connection.close(4001, "bye")
        elif message == "ping me":
            await connection.ping()
        else:
            await connection.send(message)


def refuse(connection, request):
    if request.path == "/refused":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not here\n")


async def main():
    settings = {"max_size": 8 << 20, "compression": None, "subprotocols": ["echo"], "process_request": refuse}
    if sys.argv[2:]:
        settings["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings["ssl"].load_cert_chain(*sys.argv[2:])
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), **settings):
        await asyncio.Future()


asyncio.run(main())
