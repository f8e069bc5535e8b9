"""A uvicorn server on each of the ports given, all on one event loop and with one Broadcaster."""

import asyncio
import sys

import uvicorn
from fastware_app import app


async def main():
    servers = [uvicorn.Server(uvicorn.Config(app, port=int(port), access_log=False)) for port in sys.argv[1:]]
    await asyncio.gather(*(server.serve() for server in servers))


asyncio.run(main())
