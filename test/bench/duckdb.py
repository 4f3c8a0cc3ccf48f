# What a user of DuckDB would run for the same scores. Prints the seconds of the query,
# the peak memory of the process in KiB, and the version.
#
#   python3 - QUESTION FILE RESULT AS_OF THREADS
import resource, sys, time

import duckdb

question, file, result, as_of, threads = sys.argv[1:]
EVENTS = f"""SELECT holder_id AS h, "start" AS s, "end" AS e, weight::DECIMAL(18, 4) AS w FROM read_csv('{file}')"""
# Value and balance of both sides of each transfer.
MOVES = f"""
WITH lines AS (
    SELECT from_address AS f, to_address AS t, value AS v, epoch(block_timestamp)::BIGINT AS ts
    FROM read_csv('{file}', types = {{'from_address': 'VARCHAR', 'to_address': 'VARCHAR', 'value': 'HUGEINT'}})),
moves AS (
    SELECT t AS h, ts, v FROM lines UNION ALL SELECT f, ts, -v FROM lines WHERE f <> '0x0000000000000000000000000000000000000000')"""
QUESTIONS = {
    "sum": f"SELECT h, sum((e - s) * w) AS score FROM ({EVENTS}) GROUP BY h",
    # Between two neighbouring starts or ends of a holder, the largest weight counts.
    "merge": f"""
WITH holds AS MATERIALIZED ({EVENTS}),
ends AS (SELECT h, s AS t FROM holds UNION SELECT h, e FROM holds),
parts AS (SELECT h, t, lead(t) OVER (PARTITION BY h ORDER BY t) AS u FROM ends),
levels AS (
    SELECT p.h, p.t, p.u, max(holds.w) AS w FROM parts p JOIN holds ON holds.h = p.h AND holds.s <= p.t AND holds.e >= p.u
    WHERE p.u IS NOT NULL GROUP BY p.h, p.t, p.u)
SELECT h, sum(w * (u - t)) AS score FROM levels GROUP BY h""",
    # A score is linear in what comes and goes. That no balance falls below zero is not looked at.
    "linear": f"{MOVES} SELECT h, sum(v * ({as_of} - ts)) AS score FROM moves GROUP BY h",
    # Balances after each time, which must not be negative.
    "window": f"""{MOVES},
net AS (SELECT h, ts, sum(v) AS v FROM moves GROUP BY h, ts),
balances AS (
    SELECT h, ts, sum(v) OVER (PARTITION BY h ORDER BY ts) AS balance,
        coalesce(lead(ts) OVER (PARTITION BY h ORDER BY ts), {as_of}) AS until
    FROM net)
SELECT h, if(min(balance) < 0, error('overdrawn'), sum(balance * (until - ts))) AS score FROM balances GROUP BY h""",
}
duckdb.sql(f"SET threads = {threads}")
began = time.monotonic()
duckdb.sql(f"COPY (SELECT * FROM ({QUESTIONS[question]}) ORDER BY h) TO '{result}' (HEADER)")
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, duckdb.__version__)
