"""Autobahn's cases, as kosoku runs them, against the echo server at URL: CASE VERDICT CLOSING CODE, a line each. URL CASE..."""

import asyncio
import os
import ssl
import sys
from urllib.parse import urlsplit

from kosoku import FailureError, run_fuzzingclient

url, *cases = sys.argv[1:]


async def without_tls(url):
    """The same server for kosoku, which speaks no TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def pass_on(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def carry(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{url.path}", server


async def judge():
    target, _server = await without_tls(urlsplit(url)) if url.startswith("wss:") else (url, None)
    try:
        return await run_fuzzingclient(target, cases, concurrency=8)
    except FailureError as failure:
        return failure.results


for case in asyncio.run(judge()):
    print(case.case_id, case.behavior.value, case.behavior_close.value, case.remote_close_code)
sys.stdout.flush()
# Its threads may abort an interpreter that ends in due form.
os._exit(0)
