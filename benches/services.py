"""Times queries through the Python package pgdbm and its pool, for benches/services.rs.

    services.py DIRECTORY PORT CONNECTIONS ROUNDS QUERY...

DIRECTORY is that of the server's Unix socket. Prints, for each query, how many microseconds taking a connection, fetching
all rows and giving it back took: the median of the rounds, and what a tenth of them did not exceed.
"""

import asyncio
import statistics
import sys
import time
from urllib.parse import quote

import pgdbm


async def main(directory, port, connections, rounds, queries):
    config = pgdbm.DatabaseConfig(
        connection_string=f"postgresql://postgres@/postgres?host={quote(directory, safe='')}&port={port}",
        min_connections=int(connections),
        max_connections=int(connections),
    )
    manager = pgdbm.AsyncDatabaseManager(config)
    await manager.connect()
    for query, jobs in zip(queries, (50, 5)):
        times = []
        for _ in range(int(rounds) + 1):
            started = time.perf_counter()
            for _ in range(jobs):
                await manager.fetch_all(query)
            times.append((time.perf_counter() - started) * 1e6 / jobs)
        times = sorted(times[1:])
        print(statistics.median(times), times[len(times) // 10])
    await manager.disconnect()


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]))
