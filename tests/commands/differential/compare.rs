//! What counts as the same: every reply word by word, but for order where there is none, for time that passes between
//! two servers, and for what is told about memory.

use super::generator::Generator;
use super::replies::Value;
use super::servers::{Target, Version};

/// Times may differ by so many milliseconds (or seconds, where they are told in seconds).
const SLACK: i64 = 10_000;

/// After so many requests all data are compared.
const CHECK_EVERY: u64 = 500;

/// Asks both the same and compares.
pub fn compare(redis: &mut impl Target, ours: &mut impl Target, mut generator: Generator, requests: u64, protocol: u8) {
    let (seed, version) = (generator.seed, generator.version);
    let hello = [b"HELLO".to_vec(), protocol.to_string().into_bytes()];
    for word in [&hello[..], &[b"FLUSHALL".to_vec()]] {
        redis.ask(word);
        ours.ask(word);
    }
    let mut history = std::collections::VecDeque::new();
    for number in 1..=requests {
        if generator.random.u32(..100) == 0 {
            let select = [b"SELECT".to_vec(), generator.random.u32(..3).to_string().into_bytes()];
            assert_eq!(redis.ask(&select), ours.ask(&select));
            history.push_back(show(&select));
        }
        let request = generator.request();
        history.push_back(show(&request));
        if history.len() > 30 {
            history.pop_front();
        }
        let is_of_set = sorts_a_set(redis, &request);
        let (theirs, own) = (redis.ask(&request), ours.ask(&request));
        if !is_same(&request, &theirs, &own, is_of_set, version) {
            let history: Vec<String> = history.into();
            panic!(
                "seed {seed}, protocol {protocol}, request {number}\nrequests:\n  {}\nRedis: {theirs:?}\nours:  {own:?}",
                history.join("\n  ")
            );
        }
        if number % CHECK_EVERY == 0 || number == requests {
            compare_all(redis, ours, version, &format!("seed {seed}, protocol {protocol}, after request {number}"));
        }
    }
}

fn show(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| format!("{:?}", word.escape_ascii().to_string())).collect::<Vec<_>>().join(" ")
}

/// Whether the request tells the members of a set, which have no order, as SORT does if it is not to sort.
fn sorts_a_set(redis: &mut impl Target, request: &[Vec<u8>]) -> bool {
    let is = |at: usize, word: &[u8]| request.get(at).is_some_and(|other| other.eq_ignore_ascii_case(word));
    if !(is(0, b"SORT") || is(0, b"SORT_RO")) || !is(2, b"BY") || !is(3, b"nosort") {
        return false;
    }
    redis.ask(&[b"TYPE".to_vec(), request[1].clone()]).text() == Some("set")
}

/// Whether two replies to a request are the same; `is_of_set`: what [`sorts_a_set`] says of it.
fn is_same(request: &[Vec<u8>], redis: &Value, ours: &Value, is_of_set: bool, version: Version) -> bool {
    let word =
        |index: usize| request.get(index).map(|w| String::from_utf8_lossy(w).to_ascii_uppercase()).unwrap_or_default();
    let about = |slack: i64| match (redis.int(), ours.int()) {
        (Some(a), Some(b)) if a >= 0 && b >= 0 => (a - b).abs() <= slack,
        _ => redis == ours,
    };
    if let Some(same) = are_same_refusals(request, redis, ours, version) {
        return same;
    }
    match word(0).as_str() {
        // Redis calls its destination overwritten since 7.2.
        "COMMAND" if word(1) == "GETKEYSANDFLAGS" && word(2) == "SINTERSTORE" => {
            redis.elements().len() == ours.elements().len()
        }
        "TTL" | "EXPIRETIME" => about(SLACK / 1000),
        "PTTL" | "PEXPIRETIME" => about(SLACK),
        "HTTL" | "HEXPIRETIME" => are_about(redis, ours, SLACK / 1000),
        "HPTTL" | "HPEXPIRETIME" => are_about(redis, ours, SLACK),
        "HGETALL" => redis.sorted(2) == ours.sorted(2),
        "HKEYS" | "HVALS" | "KEYS" | "SMEMBERS" | "SPOP" | "SINTER" | "SUNION" | "SDIFF" => {
            redis.sorted(1) == ours.sorted(1)
        }
        // A part of a set may be any part.
        "SORT" | "SORT_RO" if is_of_set => {
            let is_part = request.iter().any(|word| word.eq_ignore_ascii_case(b"LIMIT"));
            redis.sorted(1) == ours.sorted(1) || is_part && redis.elements().len() == ours.elements().len()
        }
        "ZRANDMEMBER" if word(2).is_empty() => redis.text().is_some() == ours.text().is_some(),
        "HRANDFIELD" | "SRANDMEMBER" | "ZRANDMEMBER" => {
            redis.elements().len() == ours.elements().len() && (*redis == Value::Null) == (*ours == Value::Null)
        }
        "RANDOMKEY" => (*redis == Value::Null) == (*ours == Value::Null),
        // A step is as long as either likes unless it is all.
        "SCAN" if word(2) == "COUNT" && word(3) != "10000" => true,
        "HSCAN" | "SSCAN" | "ZSCAN" if word(2) != "0" || word(4) == "COUNT" => true,
        "HSCAN" | "SSCAN" | "ZSCAN" | "SCAN" => {
            let is_of_pairs = ["HSCAN", "ZSCAN"].contains(&word(0).as_str()) && word(3) != "NOVALUES";
            let group = if is_of_pairs { 2 } else { 1 };
            match (redis.elements(), ours.elements()) {
                // A core tells only its own keys in one step.
                ([end, _], [_, _]) if end.text() != Some("0") => true,
                ([_, _], [end, _]) if end.text() != Some("0") => true,
                ([_, a], [_, b]) => a.spelled().sorted(group) == b.spelled().sorted(group),
                _ => false,
            }
        }
        "OBJECT" if word(1) == "ENCODING" => redis == ours || are_of_one_type(redis, ours),
        // Small numbers are shared in Redis: their time of use is not the key's.
        "OBJECT" if word(1) == "IDLETIME" => match (redis.int(), ours.int()) {
            (Some(theirs), Some(own)) => own <= theirs + SLACK / 1000,
            _ => redis == ours,
        },
        "OBJECT" if word(1) == "REFCOUNT" => redis.int().is_some() == ours.int().is_some(),
        "MEMORY" => redis.int().is_some() == ours.int().is_some(),
        // Without an order, in that of cells, whose size Redis has changed.
        name if name.starts_with("GEO") && !is_in_order(request) => {
            redis.spelled().sorted(1) == ours.spelled().sorted(1)
        }
        name if name.starts_with(['Z', 'G']) => redis.spelled() == ours.spelled(),
        "XINFO" | "XPENDING" => of_stream(redis) == of_stream(ours),
        // Redis 7.0 makes a consumer only where it claims something.
        "XGROUP" if word(1) == "CREATECONSUMER" => redis.int().is_some() == ours.int().is_some(),
        _ => redis == ours,
    }
}

/// Whether all numbers of two replies are the same, but for `slack` if they are times.
fn are_about(redis: &Value, ours: &Value, slack: i64) -> bool {
    let (redis, ours) = (redis.elements(), ours.elements());
    let mut pairs = redis.iter().zip(ours).map(|(one, other)| (one.int(), other.int()));
    let is_about = |pair| match pair {
        (Some(one @ 0..), Some(other @ 0..)) => i64::abs(one - other) <= slack,
        (one, other) => one == other,
    };
    redis.len() == ours.len() && pairs.all(is_about)
}

/// Whether two replies of which one is an error are the same; `None` if neither is.
fn are_same_refusals(request: &[Vec<u8>], redis: &Value, ours: &Value, version: Version) -> Option<bool> {
    let upper = |word: &Vec<u8>| String::from_utf8_lossy(word).to_ascii_uppercase();
    let name = upper(request.first()?);
    // Redis 7.0 does not know their option yet, and counts the words.
    let is_rank = |at: usize| {
        version == Version::Usual
            && request.get(at).is_some_and(|word| matches!(&upper(word)[..], "ZRANK" | "ZREVRANK"))
    };
    if is_rank(0) && request.len() > 3 {
        return Some(matches!((redis, ours), (Value::Error(_), Value::Error(_))));
    }
    if name == "COMMAND" && is_rank(2) && request.len() > 5 {
        return Some(matches!(redis, Value::Error(_)));
    }
    // Redis 7.0 wants a further word.
    if name == "COMMAND" && upper(&request[1]).starts_with("GETKEYS") && request.len() == 3 {
        return Some(matches!((redis, ours), (Value::Error(_), Value::Error(_))));
    }
    // Redis 7.0 takes nothing and what is below zero for cursors, Redis 8.2 what begins with a blank.
    let cursor = request.get(if name == "SCAN" { 1 } else { 2 }).map_or(&b""[..], |word| word);
    let is_odd = matches!(cursor, [] | [b'-' | b' ', ..]);
    if name.ends_with("SCAN") && is_odd && matches!(ours, Value::Error(why) if why == "ERR invalid cursor") {
        return Some(true);
    }
    // Redis 7.0 looks for the key first; later versions, as we do, at the range.
    let is_range_refused = matches!(ours, Value::Error(why) if !why.starts_with("WRONGTYPE"));
    if matches!(&name[..], "BITCOUNT" | "BITPOS") && is_range_refused {
        return Some(matches!(redis, Value::Int(0 | -1) | Value::Error(_)));
    }
    if let (Value::Error(theirs), Value::Error(own)) = (redis, ours) {
        // The rest of this text is new since 7.0.
        let unbalanced = |text: &str| text.starts_with("ERR Unbalanced ");
        return Some(theirs == own || unbalanced(theirs) && unbalanced(own));
    }
    matches!(redis, Value::Error(_)).then_some(false)
}

/// Whether a search for places has an order.
fn is_in_order(request: &[Vec<u8>]) -> bool {
    let has = |word: &str| request.iter().any(|other| other.eq_ignore_ascii_case(word.as_bytes()));
    has("ASC") || has("DESC") || has("COUNT") && !has("ANY")
}

/// Whether two encodings are those of one type. How a string came about decides in Redis whether it is "raw", and how
/// large a hash once was, and whether its fields have ever expired; sets are packed as bytes since 7.2, and before that
/// version every list was a "quicklist".
fn are_of_one_type(redis: &Value, ours: &Value) -> bool {
    const TYPES: [&[&str]; 5] = [
        &["listpack", "listpackex", "hashtable"],
        &["int", "embstr", "raw"],
        &["intset", "listpack", "hashtable"],
        &["listpack", "skiplist"],
        &["listpack", "quicklist"],
    ];
    let is_of = |value: &Value, of: &[&str]| value.text().is_some_and(|text| of.contains(&text));
    TYPES.iter().any(|of| is_of(redis, of) && is_of(ours, of))
}

/// What XINFO and XPENDING tell, without what versions of Redis tell in different ways: times, how streams are laid
/// out, how many entries a group has read where some are gone, and consumers that have nothing.
fn of_stream(value: &Value) -> Value {
    const FIELDS: [&str; 9] = [
        "radix-tree-keys",
        "radix-tree-nodes",
        "seen-time",
        "active-time",
        "idle",
        "inactive",
        "entries-read",
        "lag",
        "consumers",
    ];
    let elements = value.elements();
    let field = |at: usize| elements.get(at).and_then(Value::text);
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(element) = elements.get(at) {
        // "consumers" is a number of them, or the consumers themselves.
        if field(at).is_some_and(|name| FIELDS.contains(&name)) {
            let consumers = elements.get(at + 1).map(Value::elements).unwrap_or_default();
            kept.extend(consumers.iter().filter(|consumer| !has_nothing(consumer)).map(of_stream));
            at += 2;
            continue;
        }
        kept.push(match element {
            // Milliseconds since a delivery, or the time of one: both servers got the request at about the same time.
            Value::Int(time) if at == 1 && elements.len() == 3 || at == 2 && elements.len() == 4 => {
                Value::Int(time / 100_000)
            }
            Value::Array(_) | Value::Map(_) if has_nothing(element) => {
                at += 1;
                continue;
            }
            Value::Array(_) | Value::Map(_) => of_stream(element),
            other => other.clone(),
        });
        at += 1;
    }
    if elements.is_empty() { value.clone() } else { Value::Array(kept) }
}

/// Whether this tells of a consumer that nothing is pending with.
fn has_nothing(consumer: &Value) -> bool {
    let is_consumer = consumer.elements().iter().any(|field| matches!(field.text(), Some("idle" | "seen-time")));
    let is_count = |field: &Value| matches!(field.text(), Some("pel-count" | "pending"));
    is_consumer && consumer.elements().iter().skip_while(|field| !is_count(field)).nth(1) == Some(&Value::Int(0))
}

/// Compares all data.
fn compare_all(redis: &mut impl Target, ours: &mut impl Target, version: Version, when: &str) {
    let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    for db in 0..3 {
        for server in [&mut *redis as &mut dyn Target, &mut *ours as &mut dyn Target] {
            assert_eq!(server.ask(&words(&format!("SELECT {db}"))), Value::Simple("OK".into()));
        }
        let mut both = |line: &str| {
            let request = words(line);
            let (theirs, own) = (redis.ask(&request), ours.ask(&request));
            assert!(
                is_same(&request, &theirs, &own, false, version),
                "{when}, {line} in {db}\nRedis: {theirs:?}\nours:  {own:?}"
            );
            theirs
        };
        for key in both("KEYS *").elements() {
            let key = key.text().unwrap_or_default();
            both(&format!("PEXPIRETIME {key}"));
            match both(&format!("TYPE {key}")).text() {
                Some("string") => both(&format!("GET {key}")),
                Some("set") => both(&format!("SMEMBERS {key}")),
                Some("zset") => both(&format!("ZRANGE {key} 0 -1 WITHSCORES")),
                Some("list") => both(&format!("LRANGE {key} 0 -1")),
                Some("stream") => both(&format!("XINFO STREAM {key} FULL COUNT 0")),
                _ => {
                    let fields = both(&format!("HKEYS {key}"));
                    let names: Vec<&str> = fields.elements().iter().filter_map(Value::text).collect();
                    if version == Version::Eight && !names.is_empty() {
                        both(&format!("HPEXPIRETIME {key} FIELDS {} {}", names.len(), names.join(" ")));
                    }
                    both(&format!("HGETALL {key}"))
                }
            };
        }
    }
    for server in [redis as &mut dyn Target, ours as &mut dyn Target] {
        server.ask(&words("SELECT 0"));
    }
}
