"""MongoDB's wire protocol, spoken by mongoeco over a file of SQLite, or from memory without one.

Usage: MONGO_PASSWORD=… python mongo_server.py FILE PORT USER ("" for no file); with a Python >= 3.13 that has
``mongoeco[wire]``, and nothing of this project.
"""

from __future__ import annotations

import asyncio
import os
import sys

from mongoeco.engines.memory import MemoryEngine
from mongoeco.engines.sqlite import SQLiteEngine
from mongoeco.wire.auth import WireAuthUser
from mongoeco.wire.proxy import AsyncMongoEcoProxyServer


async def main(file: str, port: str, user: str) -> None:
    users = (WireAuthUser(user, os.environ.pop("MONGO_PASSWORD")),)
    engine = SQLiteEngine(file) if file else MemoryEngine()
    server = AsyncMongoEcoProxyServer(engine=engine, port=int(port), auth_users=users)
    async with server:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
