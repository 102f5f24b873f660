#!/usr/bin/env python3
"""Makes src/encoding/rdb/tests/: payloads of DUMP and RDB files by real servers, with what they contain.

    rdb_payloads.py PORT_OF_6.2 PORT_OF_7.0 PORT_OF_8.2

Each server must be a new one that saves nothing by itself. Payloads in forms that none of them writes are made here by
hand, and given to the servers that read them: what these say they contain is what is written down.
"""

import pathlib
import struct
import sys

import redis

HERE = pathlib.Path(__file__).resolve().parent.parent.parent / "src/encoding/rdb/tests"
TEXTS = [b"", b"a", b"two words", b"x" * 63, b"y" * 64, b"z" * 300, b"\x00\xff\r\n"]
NUMBERS = [0, 12, 13, 127, 128, -1, -128, 255, -4096, 4095, 4096, 32767, -32768, 65536, -8388608, 8388607, 2**31 - 1,
           -(2**31), 2**63 - 1, -(2**63)]
WORDS = TEXTS + [str(number).encode() for number in NUMBERS]


def shown(text):
    """As Rust's escape_ascii, and without spaces."""
    def one(byte):
        known = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}
        if byte in known:
            return known[byte]
        return chr(byte) if 32 < byte < 127 else f"\\x{byte:02x}"
    return "".join(map(one, text))


def number(score):
    text = str(int(score)) if score == int(score) and abs(score) < 1e15 else repr(score)
    return text


def content(server, key):
    kind = server.type(key).decode()
    if kind == "string":
        return [kind, shown(server.get(key))]
    if kind == "list":
        return [kind] + list(map(shown, server.lrange(key, 0, -1)))
    if kind == "set":
        return [kind] + list(map(shown, sorted(server.smembers(key))))
    if kind == "zset":
        scores = {"inf": "inf", "-inf": "-inf"}
        pairs = sorted((member, scores.get(str(score)) or number(score))
                       for member, score in server.zrange(key, 0, -1, withscores=True))
        return [kind] + [f"{shown(member)}={score}" for member, score in pairs]
    if kind == "hash":
        fields = sorted(server.hgetall(key).items())
        try:
            times = server.execute_command("HPEXPIRETIME", key, "FIELDS", len(fields), *[name for name, _ in fields])
        except redis.ResponseError:
            times = [-1] * len(fields)
        return [kind] + [f"{shown(n)}={shown(v)}" + (f"@{t}" if t > 0 else "") for (n, v), t in zip(fields, times)]
    return [kind] + stream(server, key)


def pairs(reply):
    return dict(zip(reply[::2], reply[1::2]))


def stream(server, key):
    info = pairs(server.execute_command("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    words = [f"last={shown(info[b'last-generated-id'])}",
             f"deleted={shown(info.get(b'max-deleted-entry-id', b'0-0'))}",
             f"added={info.get(b'entries-added', info[b'length'])}"]
    for entry, fields in info[b"entries"]:
        words.append(shown(entry) + ":" + ",".join(shown(f) for f in fields))
    for group in map(pairs, info[b"groups"]):
        read = group.get(b"entries-read")
        words.append(f"group:{shown(group[b'name'])}:{shown(group[b'last-delivered-id'])}:{read}")
        times = {entry: (at, count) for entry, _, at, count in group.get(b"pending", group.get(b"pel"))}
        for consumer in map(pairs, group[b"consumers"]):
            seen = consumer[b"seen-time"]
            active = consumer.get(b"active-time", seen)
            words.append(f"consumer:{shown(consumer[b'name'])}:{seen}:{None if active == -1 else active}")
            for entry in consumer.get(b"pending", consumer.get(b"pel")):
                at, count = times[entry[0]]
                words.append(f"pending:{shown(entry[0])}:{at}:{count}")
    return words


def fill(server, version):
    """Keys in every form that this version writes."""
    server.flushall()
    for key, value in {"int8": -7, "int16": 300, "int32": -70000, "int64": 2**40, "text": b"a\xff", "lzf": b"ab" * 200}.items():
        server.set(f"string:{key}", value)
    server.rpush("list", *WORDS)
    server.rpush("list:small", 1, b"one")
    server.sadd("set:int16", 1, -2, 300)
    server.sadd("set:int32", 1, -70000)
    server.sadd("set:int64", 1, 2**40, -(2**40))
    server.sadd("set", *WORDS)
    server.sadd("set:small", b"one", 2, b"")
    scores = {b"a": 1.5, b"b": -2, b"c": float("inf"), b"d": float("-inf"), b"7": 2**40, b"": 0.1}
    server.zadd("zset", scores)
    server.zadd("zset:long", scores | {b"l" * 70: 3})
    server.hset("hash", mapping={b"f": b"1", b"g": b"two", b"": b"", b"9": b"-300"})
    server.hset("hash:long", mapping={b"f": b"1", b"g": b"v" * 100})
    for at in range(1, 8):
        server.xadd("stream", {b"temp": at * 1000, b"at": b"p%d" % at}, id=f"1700000000000-{at}")
    server.xadd("stream", {b"other": b"field"}, id="1700000000500-0")
    server.xdel("stream", "1700000000000-3", "1700000000000-5")
    for name in ("first", "second"):
        server.xgroup_create("stream", name, id="0")
    server.xreadgroup("first", "worker", {"stream": ">"}, count=3)
    server.xreadgroup("first", "other", {"stream": ">"}, count=1)
    server.xack("stream", "first", "1700000000000-1")
    server.xdel("stream", "1700000000000-2")
    server.xadd("stream:bare", {b"a": b"b"}, id="5-5")
    if version > (6,):
        server.xgroup_createconsumer("stream", "second", "idle")
    if version > (7,):
        server.execute_command("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "10b")
        server.rpush("list:plain", b"small", b"as large as it must be to stand alone", 5)
        server.execute_command("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
    if version > (8,):
        server.hset("hash:expiring", mapping={b"f": b"1", b"g": b"two", b"h": b"3"})
        server.execute_command("HPEXPIREAT", "hash:expiring", 4102444800123, "FIELDS", 1, "g")
        server.hset("hash:expiring:long", mapping={b"f": b"1", b"g": b"two", b"h": b"v" * 100})
        server.execute_command("HPEXPIREAT", "hash:expiring:long", 4102444800123, "FIELDS", 1, "g")
        server.execute_command("HPEXPIREAT", "hash:expiring:long", 4102444800999, "FIELDS", 1, "h")


def crc64(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def sealed(value, version):
    value += struct.pack("<H", version)
    return value + struct.pack("<Q", crc64(value))


def string(text):
    assert len(text) < 64
    return bytes([len(text)]) + text


ZIPLIST = bytes.fromhex("180000001300000004000002616204f302fe8103c02c01ff")
# Made by hand: name, value, version of the format.
BY_HAND = [
    ("list", b"\x01\x03" + string(b"a") + b"\xc0\x05" + string(b""), 6),
    ("zset of texts", b"\x03\x03" + string(b"a") + b"\x031.5" + string(b"b") + b"\xfe" + string(b"c") + b"\xff", 6),
    ("zipmap", b"\x09" + string(b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world\x00\x00\xff"), 6),
    ("ziplist", b"\x0a" + string(ZIPLIST), 6),
    ("hash of a release candidate", b"\x16\x02\x00\x01f\x01v" + b"\x81" + struct.pack(">Q", 4102444800123) + b"\x01g\x01w", 12),
]


def write(lines, title, payload, words):
    lines += [f"# {title}", payload.hex(), " ".join(words), ""]


def main():
    servers = [redis.Redis(port=int(port), protocol=2) for port in sys.argv[1:]]
    newest, lines = servers[-1], []
    for server in servers:
        name = server.info("server")["redis_version"]
        version = tuple(map(int, name.split(".")))
        fill(server, version)
        for key in sorted(server.keys()):
            payload, words = server.dump(key), content(server, key)
            if version < (7,) and words[0] == "stream":
                # It does not tell what its groups have read; newer ones estimate it.
                newest.restore("key", 0, payload, replace=True)
                words = content(newest, "key")
            write(lines, f"Redis {name}: {key.decode()}", payload, words)
        server.flushall()
        server.set("text", b"ab" * 100)
        server.set("expiring", 1, pxat=4102444800123) if version > (7,) else server.pexpireat("text", 4102444800123)
        if version > (7,):
            server.function_load("#!lua name=lib\nredis.register_function('f', function() return 1 end)", replace=True)
        one = redis.Redis(port=server.connection_pool.connection_kwargs["port"], db=3)
        one.hset("hash", mapping={b"f": b"1"})
        server.save()
        directory, file = (server.config_get(what)[what] for what in ("dir", "dbfilename"))
        saved = pathlib.Path(directory) / file
        (HERE / f"redis-{version[0]}.{version[1]}.rdb").write_bytes(saved.read_bytes())
        server.flushall()
    for title, value, version in BY_HAND:
        payload = sealed(value, version)
        newest.restore("key", 0, payload, replace=True)
        write(lines, f"By hand: {title}", payload, content(newest, "key"))
    newest.flushall()
    (HERE / "payloads.txt").write_text("\n".join(lines))


main()
