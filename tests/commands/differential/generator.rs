//! Random requests: mostly meaningful ones on few keys, so that they meet, and some with what clients get wrong.

use fastrand::Rng;

/// How keys lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All in one slot: every command can be had.
    Together,
    /// All over the slots; no command that needs several keys on one core.
    Apart,
}

/// Requests, each after the grammar of a line: `K` is a key, `L` mostly one of a list, `E` an element of a list or a
/// member of a set, `V` a value, `F` a field, `N` an integer, `I` a small one, `X` one that is no short time, `R` a
/// number with a fraction, `S` seconds, `M` milliseconds, `A` and `B` times in these, `G` a pattern, `D` a database,
/// `H` a key of a HyperLogLog, `O` the position of a bit, `T` the type of a bit field, `Z` a key that mostly holds a
/// sorted set, `P` one of equal scores, `J` a member of a sorted set, `Q` a score, `W` an end of a range of scores, `Y`
/// one of a range of members, `STREAMKEY` mostly a key of a stream, `NEWID` a new id of an entry, `NEXTMS` one later
/// than all, `U` a used one, `PLUS` a plus, `GROUPNAME` a group, `CONSUMER` a consumer; `[…]` is left out half of the
/// time, `a|b` is one of both, `…+` once or more often. All
/// other words stand for themselves.
const REQUESTS: &[&str] = &[
    "GET K",
    "GET K",
    "SET K V",
    "SET K V",
    "SET K N",
    "SET K V [NX|XX] [GET] [EX_S|PX_M|EXAT_A|PXAT_B|KEEPTTL]",
    "SET K V [EX_S|PX_M|EXAT_A|PXAT_B|KEEPTTL] [GET] [NX|XX]",
    "SET K V [EX_X|PX_X|EXAT_X|NX|PERSIST|EX|KEEPTTL] [XX|KEEPTTL|PX_M] [GET|EX_S|nonsense]",
    "SETNX K V",
    "SETEX K S|X V",
    "PSETEX K M|X V",
    "GETSET K V",
    "GETDEL K",
    "GETEX K [EX_S|PX_M|EXAT_A|PXAT_B|PERSIST]",
    "GETEX K [EX_X|PX_X|EXAT_X|KEEPTTL|PERSIST] [EX_S|PERSIST|NX]",
    "MGET K+",
    "MSET KV+",
    "MSETNX KV+",
    "MSET KV+ K",
    "INCR K",
    "DECR K",
    "INCRBY K N",
    "DECRBY K N",
    "INCRBYFLOAT K R",
    "INCRBYFLOAT K N",
    "APPEND K V",
    "STRLEN K",
    "GETRANGE K N N",
    "SUBSTR K I I",
    "GETRANGE K I I",
    "SETRANGE K I V",
    "SETRANGE K N V",
    "GETBIT K O",
    "SETBIT K O 0|1",
    "SETBIT K O N",
    "BITCOUNT K",
    "BITCOUNT K I I",
    "BITCOUNT K I I BIT|BYTE",
    "BITPOS K 0|1 [I]",
    "BITPOS K 0|1 I I",
    "BITPOS K 0|1 I I BIT|BYTE",
    "BITOP AND|OR|XOR K K+",
    "BITOP NOT K K+",
    "BITFIELD K GET T O",
    "BITFIELD K SET T O N INCRBY T O N",
    "BITFIELD K OVERFLOW WRAP|FAIL INCRBY T O N SET T O N GET T O",
    // No SET of any number: one far below the least gives the largest in Redis, whose check overflows by itself.
    "BITFIELD K OVERFLOW SAT INCRBY T O N SET T O I GET T O",
    "BITFIELD_RO K GET T O GET T O",
    "BITFIELD_RO K SET T O N",
    "LCS K K [LEN|IDX] [WITHMATCHLEN|MINMATCHLEN_N]",
    "PFADD H N",
    "PFADD H V+",
    "PFADD H FV+",
    "PFADD H",
    // Not PFADD: of a value damaged since then, Redis may change a part before it meets the damage.
    "PFCOUNT K",
    "PFCOUNT H",
    "PFCOUNT H+",
    "PFMERGE H H+",
    "PFMERGE H",
    "PFDEBUG ENCODING|DECODE H",
    "HSET K FV+",
    "HSET K FV+",
    "HSET K FV+",
    "HSET K F N",
    "HSET K FV+ F",
    "HSETNX K F V",
    "HMSET K FV+",
    "HGET K F",
    "HMGET K F+",
    "HGETALL K",
    "HDEL K F+",
    "HLEN K",
    "HEXISTS K F",
    "HKEYS K",
    "HVALS K",
    "HSTRLEN K F",
    "HINCRBY K F N",
    "HINCRBYFLOAT K F R",
    "HINCRBYFLOAT K F N",
    "HRANDFIELD K",
    "HRANDFIELD K I [WITHVALUES|nonsense]",
    "HSCAN K 0 [MATCH_G] [COUNT_1000] [TYPE_hash]",
    "HSCAN K N COUNT N",
    "SADD K E+",
    "SADD K E+",
    "SADD K E+",
    "SADD K E",
    "SADD K N+",
    "SREM K E+",
    "SMEMBERS K",
    "SISMEMBER K E",
    "SMISMEMBER K E+",
    "SCARD K",
    "SRANDMEMBER K",
    "SRANDMEMBER K I [nonsense]",
    "SPOP K 100000 [nonsense]",
    "SPOP K X",
    "SMOVE K K E",
    "SINTER K+",
    "SUNION K+",
    "SDIFF K+",
    "SINTERSTORE K K+",
    "SUNIONSTORE K K+",
    "SDIFFSTORE K K+",
    "SINTERCARD I K+",
    "SINTERCARD 2 K K [LIMIT_I] [LIMIT|nonsense]",
    "SSCAN K 0 [MATCH_G] [COUNT_1000] [TYPE_set]",
    "SSCAN K N COUNT N",
    "ZADD Z QJ+",
    "ZADD Z QJ+",
    "ZADD P 0 J",
    "ZADD P 0J+",
    "ZADD Z [NX|XX] [GT|LT] [CH] QJ+",
    "ZADD Z [NX|XX|GT] [LT|CH|NX] [INCR] QJ+",
    "ZADD Z [XX|NX] [GT|LT] INCR Q J",
    "ZADD Z QJ+ J",
    "ZINCRBY Z Q J",
    "ZREM Z J+",
    "ZREM P J+",
    "ZCARD Z",
    "ZSCORE Z J",
    "ZMSCORE Z J+",
    "ZRANK Z J",
    "ZREVRANK Z J",
    "ZCOUNT Z W W",
    "ZLEXCOUNT P Y Y",
    "ZRANGE Z I I [WITHSCORES]",
    "ZRANGE Z N N [REV] [WITHSCORES]",
    "ZRANGE Z I I [REV|BYLEX] [WITHSCORES] [LIMIT_I_I]",
    "ZRANGE Z W W BYSCORE [REV] [LIMIT_I_I] [WITHSCORES|nonsense]",
    "ZRANGE P Y Y BYLEX [REV] [LIMIT_I_I] [WITHSCORES]",
    "ZREVRANGE Z I I [WITHSCORES]",
    "ZRANGEBYSCORE Z W W [WITHSCORES] [LIMIT_I_I]",
    "ZREVRANGEBYSCORE Z W W [LIMIT_I_N] [WITHSCORES]",
    "ZRANGEBYLEX P Y Y [LIMIT_I_I]",
    "ZREVRANGEBYLEX P Y Y [LIMIT_I_I|REV]",
    "ZRANGESTORE Z Z I I [REV] [LIMIT_I_I|WITHSCORES]",
    "ZRANGESTORE Z Z W W BYSCORE [REV] [LIMIT_I_I]",
    "ZRANGESTORE P P Y Y BYLEX [REV] [LIMIT_I_I]",
    "ZREMRANGEBYRANK Z I I",
    "ZREMRANGEBYSCORE Z W W",
    "ZREMRANGEBYLEX P Y Y",
    "ZPOPMIN Z [I]",
    "ZPOPMAX Z [I]",
    "ZMPOP 1 Z MIN|MAX [COUNT_I]",
    "ZMPOP 2 Z Z MIN|MAX|nonsense [COUNT_I]",
    "ZRANDMEMBER Z",
    "ZRANDMEMBER Z I [WITHSCORES|nonsense]",
    "ZSCAN Z 0 [MATCH_G] [COUNT_1000]",
    "ZSCAN Z S COUNT N",
    "ZUNION 2 Z Z [WEIGHTS_Q_Q] [AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE_MAX] [WITHSCORES]",
    "ZINTER 2 Z Z [WEIGHTS_Q_Q|WEIGHTS_Q] [AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE] [WITHSCORES]",
    "ZINTER I Z Z [WITHSCORES]",
    "ZDIFF 2 Z Z [WITHSCORES|WEIGHTS_1_1]",
    "ZDIFF 3 Z Z K",
    "ZUNIONSTORE Z 2 Z Z [WEIGHTS_Q_Q] [AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE_MAX]",
    "ZINTERSTORE Z 2 Z Z [AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE_MAX] [WEIGHTS_Q_Q|WITHSCORES]",
    "ZDIFFSTORE Z 2 Z Z",
    "ZINTERCARD 2 Z Z [LIMIT_I]",
    "SADD K J+",
    "ZUNION 2 Z K [WEIGHTS_Q_Q] [AGGREGATE_MIN|AGGREGATE_MAX] [WITHSCORES]",
    "ZINTER 2 K Z [WEIGHTS_Q_Q] [WITHSCORES]",
    "ZDIFF 2 Z K [WITHSCORES]",
    "ZUNIONSTORE Z 2 K K",
    "ZINTERCARD 2 Z K [LIMIT_I]",
    "SORT Z [ALPHA] [DESC] [STORE_L]",
    "SORT Z BY nosort [DESC] [LIMIT_I_I]",
    "LPUSH L E+",
    "RPUSH L E+",
    "RPUSH L V+",
    "LPUSH L EV+",
    "LPUSHX L E+",
    "RPUSHX L V+",
    "LPOP L [I]",
    "RPOP L [I]",
    "LPOP L N",
    "LLEN L",
    "LRANGE L I I",
    "LRANGE L N N",
    "LRANGE L 0 -1",
    "LINDEX L I|N",
    "LSET L I E|V",
    "LSET L N V",
    "LINSERT L BEFORE|AFTER|nonsense E E|V",
    "LINSERT L BEFORE|AFTER E E",
    "LREM L I E",
    "LREM L nonsense E",
    "LREM L 1|-1|0 E",
    "LTRIM L I I",
    "LTRIM L I N",
    "LTRIM L 1|0 -2|-1",
    "LPOS L E [RANK_I] [COUNT_I] [MAXLEN_I]",
    "LPOS L E [COUNT_0|RANK_nonsense|COUNT_N|nonsense] [MAXLEN_N]",
    "LMOVE L L LEFT|RIGHT LEFT|RIGHT|nonsense",
    "RPOPLPUSH L L",
    "LMPOP 1 L LEFT|RIGHT [COUNT_I]",
    "LMPOP 2 L L LEFT|RIGHT|nonsense [COUNT_I|nonsense]",
    "LMPOP I L LEFT",
    "SORT L [DESC] [STORE_L]",
    "SORT L ALPHA [DESC|ASC|nonsense] STORE L",
    "SORT L BY nosort [DESC] [GET_#|GET_K]",
    "XADD STREAMKEY NEWID FV+",
    "XADD STREAMKEY NEWID FV+",
    "XADD STREAMKEY NEWID FV+",
    "XADD STREAMKEY NEWID F V",
    "XADD K [NOMKSTREAM] [MAXLEN_I|MAXLEN_=_I|MINID_U] NEWID FV+",
    "XADD STREAMKEY [MAXLEN_I|MINID_U|LIMIT_I|nonsense] U|NEWID FV+ [F]",
    "XLEN K",
    "XRANGE STREAMKEY U|- U|PLUS [COUNT_I]",
    "XREVRANGE STREAMKEY U|PLUS U|- [COUNT_I|COUNT|nonsense]",
    "XREAD [COUNT_I] [nonsense] STREAMS STREAMKEY U|$|>",
    "XREAD [COUNT_I] STREAMS STREAMKEY STREAMKEY U|0 U|0",
    "XDEL STREAMKEY U+",
    "XTRIM STREAMKEY MAXLEN|MINID|nonsense [=] I|U [LIMIT_I]",
    "XTRIM STREAMKEY MAXLEN I",
    // Above all ids so far: Redis 7.0 takes one below the greatest deleted id, later versions refuse it as we do.
    "XSETID STREAMKEY NEXTMS [ENTRIESADDED_N] [MAXDELETEDID_U]",
    "XGROUP CREATE STREAMKEY GROUPNAME U|$|0 [MKSTREAM] [ENTRIESREAD_I]",
    "XGROUP CREATE STREAMKEY GROUPNAME 0 MKSTREAM",
    "XGROUP SETID STREAMKEY GROUPNAME U|$|0 [ENTRIESREAD_I]",
    "XGROUP DESTROY STREAMKEY GROUPNAME",
    "XGROUP CREATECONSUMER STREAMKEY GROUPNAME CONSUMER",
    "XGROUP DELCONSUMER STREAMKEY GROUPNAME CONSUMER",
    "XGROUP nonsense STREAMKEY GROUPNAME",
    "XREADGROUP GROUP GROUPNAME CONSUMER [COUNT_I] [NOACK] STREAMS STREAMKEY >",
    "XREADGROUP GROUP GROUPNAME CONSUMER COUNT 5 STREAMS STREAMKEY >",
    "XREADGROUP GROUP GROUPNAME CONSUMER [COUNT_I] STREAMS STREAMKEY U|0|$",
    "XREADGROUP GROUP GROUPNAME CONSUMER [COUNT_I] [NOACK] STREAMS STREAMKEY STREAMKEY >|U >|0",
    "XACK STREAMKEY GROUPNAME U+",
    "XPENDING STREAMKEY GROUPNAME",
    "XPENDING STREAMKEY GROUPNAME [IDLE_0] U|- U|PLUS I [CONSUMER]",
    "XCLAIM STREAMKEY GROUPNAME CONSUMER 0 U+ [IDLE_M] [RETRYCOUNT_I] [FORCE] [JUSTID] [LASTID_U]",
    "XCLAIM STREAMKEY GROUPNAME CONSUMER N U+ [IDLE|nonsense]",
    "XAUTOCLAIM STREAMKEY GROUPNAME CONSUMER 0 U|- [COUNT_I] [JUSTID]",
    "XINFO STREAM STREAMKEY [FULL] [COUNT_I]",
    "XINFO GROUPS STREAMKEY",
    "XINFO CONSUMERS STREAMKEY GROUPNAME",
    "DEL K+",
    "DEL L",
    "EXPIRE L S",
    "OBJECT ENCODING L",
    "COPY L L [REPLACE]",
    "UNLINK K+",
    "EXISTS K+",
    "TOUCH K+",
    "TYPE K",
    "EXPIRE K S|X [NX|XX|GT|LT] [GT|LT|XX|nonsense]",
    "EXPIRE K S [NX|XX|GT|LT]",
    "PEXPIRE K M|X [NX|XX|GT|LT]",
    "EXPIREAT K A|N [NX|XX|GT|LT]",
    "PEXPIREAT K B|N [NX|XX|GT|LT]",
    "TTL K",
    "PTTL K",
    "EXPIRETIME K",
    "PEXPIRETIME K",
    "PERSIST K",
    "KEYS G",
    "SCAN 0 COUNT 10000 [MATCH_G] [TYPE_hash|TYPE_string|TYPE_set|TYPE_zset|TYPE_stream|TYPE_list|TYPE]",
    "SCAN 0 COUNT N",
    "SCAN nonsense",
    "RANDOMKEY",
    "MOVE K D",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K [DB_D] [REPLACE]",
    "COPY K K [REPLACE|nonsense|DB] [DB_D]",
    "OBJECT ENCODING K",
    "OBJECT REFCOUNT K",
    "OBJECT FREQ K",
    "OBJECT IDLETIME K",
    "OBJECT nonsense K",
    "MEMORY USAGE K [SAMPLES_I|SAMPLES|nonsense]",
    "DBSIZE",
    "SWAPDB D D",
    "COMMAND GETKEYS REQUEST",
    "COMMAND GETKEYSANDFLAGS REQUEST",
];

/// Commands that need all their keys on one core.
const ONE_CORE: &[&str] = &[
    "MSETNX",
    "RENAME",
    "RENAMENX",
    "COPY",
    "SWAPDB",
    "BITOP",
    "LCS",
    "PFCOUNT",
    "PFMERGE",
    "SMOVE",
    "SINTER",
    "SUNION",
    "SDIFF",
    "SINTERSTORE",
    "SUNIONSTORE",
    "SDIFFSTORE",
    "SINTERCARD",
    "LMOVE",
    "RPOPLPUSH",
    "SORT",
    "ZMPOP",
    "ZRANGESTORE",
];

/// Requests that are rarely wanted, because they leave little behind.
const RARE: &[&str] = &["FLUSHDB [ASYNC|SYNC|nonsense]", "FLUSHALL [SYNC] [SYNC]", "nonsense K V"];

/// Number of keys that mostly hold a value of one type.
const KEYS_OF_TYPE: u32 = 5;

/// Makes requests.
pub struct Generator {
    pub random: Rng,
    /// Grammars of the requests to choose from.
    requests: Vec<&'static str>,
    keys: Keys,
    now_ms: u64,
    /// Time of the newest entry of a stream.
    newest: u64,
}

impl Generator {
    /// Always the same ones for the same seed, but for the times in them.
    pub fn new(seed: u64, keys: Keys, now_ms: u64) -> Self {
        let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
        let requests = REQUESTS.iter().copied().filter(|line| line.starts_with(&only)).collect();
        Self { random: Rng::with_seed(seed), requests, keys, now_ms, newest: 1 }
    }

    fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.random.usize(..from.len())]
    }

    /// The next request.
    pub fn request(&mut self) -> Vec<Vec<u8>> {
        loop {
            let rare = self.random.u32(..500) == 0;
            let lines = if rare { RARE } else { &self.requests };
            let line = lines[self.random.usize(..lines.len())];
            let name = line.split(' ').next().unwrap_or_default();
            let several = ["ZUNION", "ZINTER", "ZDIFF"].iter().any(|start| line.starts_with(start))
                || (name == "LMPOP" && !line.starts_with("LMPOP 1"))
                || line.contains(" STREAMKEY STREAMKEY ");
            if self.keys == Keys::Apart && (several || ONE_CORE.contains(&name)) {
                continue;
            }
            let mut words = Vec::new();
            for part in line.split(' ') {
                self.part(part, &mut words);
            }
            match self.random.u32(..200) {
                0 => drop(words.pop()),
                1 => words.push(b"nonsense".to_vec()),
                _ => {}
            }
            // Without its count, SPOP takes any one member: the sets would differ from then on.
            if name == "SPOP" && words.len() < 3 {
                continue;
            }
            let Some(name) = words.first_mut() else { continue };
            if self.random.u32(..4) == 0 {
                name.make_ascii_lowercase();
            }
            return words;
        }
    }

    fn part(&mut self, part: &str, words: &mut Vec<Vec<u8>>) {
        if let Some(optional) = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
            if self.random.bool() {
                self.part(optional, words);
            }
        } else if part.contains('|') {
            let choices: Vec<&str> = part.split('|').collect();
            let choice = self.pick(&choices);
            self.part(choice, words);
        } else if let Some(repeated) = part.strip_suffix('+') {
            let count = if self.random.u32(..50) == 0 { self.random.usize(1..150) } else { self.random.usize(1..4) };
            for _ in 0..count {
                for letter in repeated.chars() {
                    self.part(&letter.to_string(), words);
                }
            }
        } else if part == "REQUEST" {
            words.extend(self.request());
        } else if let Some((name, value)) = part.split_once('_') {
            self.part(name, words);
            self.part(value, words);
        } else {
            words.push(self.word(part));
        }
    }

    fn word(&mut self, part: &str) -> Vec<u8> {
        match part {
            "K" => self.key(),
            "Z" => self.key_of("z"),
            "P" => self.key_of("p"),
            "J" => {
                let members = if self.random.u32(..10) == 0 { 400 } else { 30 };
                format!("m{}", self.random.u32(..members)).into_bytes()
            }
            "Q" => self.score(),
            "W" => match self.random.u32(..12) {
                0 => self.pick(&["x", "nan", "(", "(x", "((1"]).into(),
                1..4 => self.pick(&["-inf", "+inf", "(-inf", "inf"]).into(),
                4..7 => format!("({}", self.random.i32(-20..20)).into_bytes(),
                _ => self.random.i32(-20..20).to_string().into_bytes(),
            },
            "Y" => match self.random.u32(..8) {
                0 => self.pick(&["", "m", "(", "[", "++"]).into(),
                1 | 2 => self.pick(&["-", "+"]).into(),
                3..5 => format!("(m{}", self.random.u32(..30)).into_bytes(),
                _ => format!("[m{}", self.random.u32(..30)).into_bytes(),
            },
            "L" => self.key_of("l"),
            "V" => self.value(),
            "F" => {
                let fields = if self.random.u32(..20) == 0 { 300 } else { 8 };
                format!("f{}", self.random.u32(..fields)).into_bytes()
            }
            "E" => match self.random.u32(..10) {
                0 => self.value(),
                1 => self.integer(),
                2 => format!("f{}", self.random.u32(..300)).into_bytes(),
                3 | 4 => format!("e{}", self.random.u32(..8)).into_bytes(),
                _ => self.random.u32(..30).to_string().into_bytes(),
            },
            "N" => self.integer(),
            // What expires while the test runs does so at another instant on each server.
            "X" => match self.integer() {
                short if short.first() != Some(&b'-') && short.len() < 7 => [b"-", &short[..]].concat(),
                other => other,
            },
            "I" => self.random.i64(-12..30).to_string().into_bytes(),
            "R" => self.fraction(),
            "S" => self.random.u64(200..10_000_000).to_string().into_bytes(),
            "M" => self.random.u64(200_000..10_000_000_000).to_string().into_bytes(),
            "A" => (self.now_ms / 1000 + self.random.u64(200..10_000_000)).to_string().into_bytes(),
            "B" => (self.now_ms + self.random.u64(200_000..10_000_000_000)).to_string().into_bytes(),
            "G" => self
                .pick(&["*", "*k*", "?t}*", "{t}k[1-3]*", "*[^1]", "f*", "f?", "f[0-4]", "\\f1", "*1*2*", ""])
                .into(),
            // Few keys hold all streams, so that these grow.
            "STREAMKEY" if self.random.u32(..20) > 0 => match self.keys {
                Keys::Together => format!("{{t}}stream{}", self.random.u32(..3)),
                Keys::Apart => format!("stream{}", self.random.u32(..3)),
            }
            .into_bytes(),
            "STREAMKEY" => self.key(),
            "NEWID" | "NEXTMS" => {
                self.newest += if part == "NEXTMS" { 1 } else { self.random.u64(..3) };
                format!("{}-{}", self.newest, self.random.u32(..3)).into_bytes()
            }
            "U" if self.random.u32(..20) == 0 => {
                self.pick(&["x", "(5", "0-0", "5-*", "01", "", "-", "18446744073709551615-0"]).into()
            }
            "U" => {
                let bits = self.random.u32(1..9);
                let age = self.random.u64(..1 << bits);
                format!("{}-{}", self.newest.saturating_sub(age), self.random.u32(..3)).into_bytes()
            }
            "PLUS" => b"+".to_vec(),
            "GROUPNAME" => format!("group{}", self.random.u32(..2)).into_bytes(),
            "CONSUMER" => format!("consumer{}", self.random.u32(..3)).into_bytes(),
            "H" => [&b"h"[..], &self.key()].concat(),
            "O" => match self.random.u32(..8) {
                0 => self.integer(),
                1 => format!("#{}", self.random.u32(..40)).into_bytes(),
                _ => self.random.u32(..1_000).to_string().into_bytes(),
            },
            "T" => {
                self.pick(&["i1", "u1", "i5", "u8", "i8", "u13", "i16", "u32", "u63", "i64", "i63", "u64", "i0"]).into()
            }
            "D" => self.pick(&["0", "1", "2", "1", "16", "-1", "x"]).into(),
            other => other.into(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random.u32(..24);
        match self.random.u32(..20) {
            0 => self.named("z", number % KEYS_OF_TYPE),
            1 => self.named("l", number % KEYS_OF_TYPE),
            _ => self.named("k", number),
        }
    }

    /// A key that mostly holds a value of the type that the letter stands for.
    fn key_of(&mut self, letter: &str) -> Vec<u8> {
        if self.random.u32(..20) == 0 {
            return self.key();
        }
        let number = self.random.u32(..KEYS_OF_TYPE);
        self.named(letter, number)
    }

    fn named(&self, letter: &str, number: u32) -> Vec<u8> {
        let tag = if self.keys == Keys::Together { "{t}" } else { "" };
        format!("{tag}{letter}{number}").into_bytes()
    }

    fn score(&mut self) -> Vec<u8> {
        match self.random.u32(..12) {
            0 => self.fraction(),
            1 => self.pick(&["inf", "-inf", "x", "", "1e3", "-0.5"]).into(),
            2 => self.random.f64().to_string().into_bytes(),
            3 => self.integer(),
            _ => self.random.i32(-20..20).to_string().into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.u32(..8) {
            0 => Vec::new(),
            1 => self.integer(),
            2 => self.fraction(),
            3 => std::iter::repeat_with(|| self.random.u8(..)).take(10).collect(),
            4 => vec![b'x'; self.random.usize(..200)],
            _ => format!("value {}", self.random.u32(..1000)).into_bytes(),
        }
    }

    fn integer(&mut self) -> Vec<u8> {
        match self.random.u32(..10) {
            0 => self
                .pick(&["9223372036854775807", "-9223372036854775808", "9223372036854775808", "9223372036854775"])
                .into(),
            1 => self.pick(&["", "+1", " 1", "01", "1.0", "x", "-0", "0", "--1", "1 "]).into(),
            2 => self.random.i64(..).to_string().into_bytes(),
            _ => self.random.i64(-1000..1000).to_string().into_bytes(),
        }
    }

    fn fraction(&mut self) -> Vec<u8> {
        match self.random.u32(..10) {
            0 => self
                .pick(&["inf", "-inf", "nan", "1e400", "1e-400", "1e5000", "0x1.8p3", "1e", ".5", "5.", " 1", "1 "])
                .into(),
            1 => format!("{}e{}", self.random.i64(-10_000..10_000), self.random.i32(-25..25)).into_bytes(),
            2 => format!("{}", f64::from_bits(self.random.u64(..) >> 2)).into_bytes(),
            3 => format!("{}", self.random.f64() * 1e15).into_bytes(),
            _ => format!("{}", self.random.i64(-100_000..100_000) as f64 / 1000.0).into_bytes(),
        }
    }
}
