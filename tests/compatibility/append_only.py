#!/usr/bin/env python3
"""Makes tests/operation/redis-8.2/: an append-only directory by a real server, and what it holds.

    redis-server --port PORT --appendonly yes --dir SOME_EMPTY_DIRECTORY      # of Redis 8.2
    append_only.py PORT
"""

import pathlib
import shutil
import sys
import time

import redis

HERE = pathlib.Path(__file__).resolve().parent.parent / "operation/redis-8.2"
BEFORE = """
SET string 1 PXAT 4102444800123
HSET hash a 1 b two
RPUSH list 1 2 3
SADD set a b c
ZADD zset 1.5 a inf b
HSET fields kept 1 extended 2 short 3 never 4
HPEXPIRE fields 4000 FIELDS 3 kept extended short
HPEXPIREAT fields 4102444800555 FIELDS 1 never
XADD stream 5-1 a 1
XADD stream 5-2 a 2 b 3
XGROUP CREATE stream group 0
XREADGROUP GROUP group one COUNT 1 STREAMS stream >
"""
AFTER = """
INCR string
HDEL hash a
LMOVE list list LEFT RIGHT
SPOP set 3
SADD set d
ZADD zset GT 9 a
XADD stream 6-1 a 4
XREADGROUP GROUP group two COUNT 5 STREAMS stream >
XDEL stream 5-1
SELECT 3
SET other database
MSET {k}a 1 {k}b 2
RENAME {k}a {k}c
SELECT 0
GETEX string PERSIST
SETEX expiring 100 1
PEXPIREAT expiring 4102444800999
HPERSIST fields FIELDS 1 kept
HPEXPIREAT fields 4102444800123 GT FIELDS 2 extended short
HPEXPIRE fields 4000 LT FIELDS 1 short
HSETEX fields PX 4000 FIELDS 2 set 5 brief 6
HGETEX fields PERSIST FIELDS 1 set
HGETEX fields PX 4000 FIELDS 1 set
HGETEX fields PXAT 4102444800777 FIELDS 1 set
HSETEX brief PX 4000 FIELDS 1 only 1
SET renamed 1 PX 4000
RENAME renamed other
"""
QUESTIONS = """
GET string
PEXPIRETIME string
PEXPIRETIME expiring
HGETALL hash
HMGET fields kept extended short never set brief
HPEXPIRETIME fields FIELDS 4 kept extended never set
HLEN fields
EXISTS brief other
LRANGE list 0 -1
SMEMBERS set
ZRANGE zset 0 -1 WITHSCORES
XRANGE stream - +
XPENDING stream group
XLEN stream
DBSIZE
SELECT 3
MGET other {k}a {k}b {k}c
"""


def shown(reply):
    """As the tests print a reply."""
    if isinstance(reply, list):
        return "[" + ", ".join(map(shown, reply)) + "]"
    if isinstance(reply, bytes):
        return '"' + reply.decode() + '"'
    return "null" if reply is None else f":{reply}"


def lines(text):
    return [line for line in text.splitlines() if line]


def main():
    server = redis.Redis(port=int(sys.argv[1]), protocol=2, single_connection_client=True)
    server.response_callbacks.clear()

    def run(line):
        return server.execute_command(*line.split(" "))

    def rewrite():
        run("BGREWRITEAOF")
        while b"aof_rewrite_in_progress:1" in (info := run("INFO persistence")) or b"aof_rewrite_scheduled:1" in info:
            time.sleep(0.1)

    list(map(run, lines(BEFORE)))
    server.execute_command("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    rewrite()
    run("CONFIG SET aof-timestamp-enabled yes")
    list(map(run, lines(AFTER)))
    for line in ["MULTI", "SET together 1", "INCR together"]:
        run(line)
    run("EXEC")
    server.execute_command("EVAL", "redis.call('SET', KEYS[1], redis.call('INCR', KEYS[2]))", 2, "scripted", "scripts")
    directory = pathlib.Path(run("CONFIG GET dir")[1].decode()) / "appendonlydir"
    shutil.rmtree(HERE, ignore_errors=True)
    shutil.copytree(directory, HERE)
    # What expires has expired when the questions are asked, as it will have when the copy is read.
    time.sleep(5)
    questions = lines(QUESTIONS.replace("DBSIZE", "GET together\nGET scripted\nDBSIZE"))
    facts = []
    for line in questions:
        reply = run(line)
        facts.append(f"{line} => " + ("+OK" if reply == b"OK" else shown(reply)))
    (HERE / "holds.txt").write_text("\n".join(facts) + "\n")


main()
