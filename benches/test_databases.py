"""Times the test database of the Python package pgdbm, for benches/test_databases.rs.

    test_databases.py PORT ROUNDS TEMPLATE SCHEMA

Prints how many milliseconds one takes from its making to its end, with one query in between, in the median: as a copy of
the database TEMPLATE, and empty with the statements of SCHEMA run in it.
"""

import asyncio
import statistics
import sys
import time

from pgdbm.testing import AsyncTestDatabase, DatabaseTestConfig


async def one(config, schema):
    async with AsyncTestDatabase.create(config=config) as database:
        if schema:
            await database.execute(schema)
        await database.fetch_all("SELECT count(*) FROM t50")


async def main(port, rounds, template, schema):
    server = {"host": "127.0.0.1", "port": int(port)}
    ways = [(DatabaseTestConfig(**server, test_db_template=template), None), (DatabaseTestConfig(**server), schema)]
    for config, statements in ways:
        times = []
        for _ in range(int(rounds) + 1):
            started = time.perf_counter()
            await one(config, statements)
            times.append((time.perf_counter() - started) * 1e3)
        print(statistics.median(times[1:]))


asyncio.run(main(*sys.argv[1:]))
