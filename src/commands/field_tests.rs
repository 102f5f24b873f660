//! Replies and errors of the commands on fields that expire: those that Redis 8.2.3 gives to the same requests.

use super::testing::Rig;

/// Requests, each with the reply of Redis. An empty request begins anew with an empty database.
const REPLIES: &[(&str, &str)] = &[
    ("", ""),
    ("HSET h a 1 b 2 c 3", ":3"),
    ("HEXPIRE h 10 FIELDS 2 a x", "*2 :1 :-2"),
    ("HEXPIRE h 10 FIELDS 3 a x", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 10 FIELDS 1 a x", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 10 FIELDS 0 a", "-ERR Parameter `numFields` should be greater than 0"),
    ("HEXPIRE h 10 FIELDS -1 a", "-ERR Parameter `numFields` should be greater than 0"),
    ("HEXPIRE h 10 FIELDS x a", "-ERR Parameter `numFields` should be greater than 0"),
    ("HEXPIRE h 10 NX FIELDS 1 a", "*1 :0"),
    ("HEXPIRE h 10 XX FIELDS 1 a", "*1 :1"),
    ("HEXPIRE h 5 GT FIELDS 1 a", "*1 :0"),
    ("HEXPIRE h 50 GT FIELDS 1 a", "*1 :1"),
    ("HEXPIRE h 50 GT FIELDS 1 b", "*1 :0"),
    ("HEXPIRE h 50 LT FIELDS 1 b", "*1 :1"),
    ("HEXPIRE h 50 NX XX FIELDS 1 b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HEXPIRE h 50 FIELDS 1 b NX", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 50 FIELDS 1 b GT", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 50 FOO 1 b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HEXPIRE h 50 NX 1 b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HEXPIRE h 50 NX FIELDS", "-ERR wrong number of arguments for 'hexpire' command"),
    ("HEXPIRE h 50 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
    ("HEXPIRE h 50", "-ERR wrong number of arguments for 'hexpire' command"),
    ("HEXPIRE h x FIELDS 1 a", "-ERR value is not an integer or out of range"),
    ("HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
    ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
    ("HEXPIRE h 70368744177663 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
    ("HPEXPIRE h 70368744177663 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"),
    ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "*1 :1"),
    ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
    ("HEXPIREAT h 70368744178 FIELDS 1 a", "-ERR invalid expire time in 'hexpireat' command"),
    ("HEXPIREAT h 1 FIELDS 1 c", "*1 :2"),
    ("HEXPIREAT h 0 FIELDS 1 b", "*1 :2"),
    ("HKEYS h", "*1 $1 a"),
    ("HPEXPIRETIME h FIELDS 3 a b z", "*3 :70368744177663 :-2 :-2"),
    ("HEXPIRETIME h FIELDS 1 a", "*1 :70368744178"),
    ("HTTL h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
    ("HTTL h FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HTTL h FIELD 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HTTL nope FIELDS 2 a b", "*2 :-2 :-2"),
    ("HTTL nope FIELDS 1 a b", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HPTTL h FIELDS 1 zz", "*1 :-2"),
    ("HPERSIST h FIELDS 3 a b z", "*3 :1 :-2 :-2"),
    ("HPERSIST h FIELDS 1 a", "*1 :-1"),
    ("HPERSIST no FIELDS 2 a b", "*2 :-2 :-2"),
    ("HEXPIRE no 1 FIELDS 2 a b", "*2 :-2 :-2"),
    ("HEXPIRE no x FIELDS 2 a b", "-ERR value is not an integer or out of range"),
    ("HEXPIRE no 1 FIELDS 1 a b", "-ERR The `numfields` parameter must match the number of arguments"),
    ("SET s 1", "+OK"),
    ("HEXPIRE s 1 FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HEXPIRE s x FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HTTL s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HPERSIST s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HTTL s FIELDS 5 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HPERSIST s FOO 5 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HEXPIRE s 1 FOO 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HSETEX h FIELDS 1 a 1", ":1"),
    ("HSETEX h FIELDS 2 a 1", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h FIELDS 1 a 1 b 2", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h FIELDS 1 a", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h FIELDS 0 a 1", "-ERR invalid number of fields"),
    ("HSETEX h FIELDS x a 1", "-ERR invalid number of fields"),
    ("HSETEX h FNX FIELDS 1 a 1", ":0"),
    ("HSETEX h FXX FIELDS 1 a 5", ":1"),
    ("HSETEX h FXX FNX FIELDS 1 a 5", "-ERR Only one of FXX or FNX arguments can be specified"),
    ("HSETEX h FXX FXX FIELDS 1 a 5", "-ERR Only one of FXX or FNX arguments can be specified"),
    (
        "HSETEX h FXX EX 10 PX 10 FIELDS 1 a 5",
        "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
    ),
    ("HSETEX h EX 10 EX 10 FIELDS 1 a 5", "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
    (
        "HSETEX h EX 10 KEEPTTL FIELDS 1 a 5",
        "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
    ),
    ("HSETEX h EX 10 FIELDS 1 a 5", ":1"),
    ("HTTL h FIELDS 1 a", "*1 :10"),
    ("HSETEX h KEEPTTL FIELDS 1 a 6", ":1"),
    ("HTTL h FIELDS 1 a", "*1 :10"),
    ("HSETEX h FIELDS 1 a 6", ":1"),
    ("HTTL h FIELDS 1 a", "*1 :-1"),
    ("HSETEX h EX 0 FIELDS 1 a 6", ":1"),
    ("HSETEX h EX -1 FIELDS 1 a 6", "-ERR invalid expire time, must be >= 0"),
    ("HSETEX h EX x FIELDS 1 a 6", "-ERR value is not an integer or out of range"),
    ("HSETEX h EXAT 1 FIELDS 1 a 6", ":1"),
    ("HKEYS h", "*0"),
    ("HSETEX h EX FIELDS 1 a 6", "-ERR value is not an integer or out of range"),
    ("HSETEX h FIELDS 1 a 6 EX 10", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HTTL h FIELDS 1 a", "*1 :-2"),
    ("HSETEX h FIELDS 1 a 6 FNX", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h FIELDS 2 a 6 FNX", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h FIELDS 2 a 6 EX 10", ":1"),
    ("HSETEX h FIELDS 1 a 6 FIELDS 1 a 7", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h EX 10", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h EX 10 FOO 1 a 1", "-ERR unknown argument: FOO"),
    ("HSETEX h FOO 1 a 1", "-ERR unknown argument: FOO"),
    ("HSETEX s FIELDS 1 a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HSETEX s FOO 1 a 1", "-ERR unknown argument: FOO"),
    ("HSETEX nope FXX FIELDS 1 a 1", ":0"),
    ("HSETEX nope FNX EXAT 1 FIELDS 1 a 1", ":1"),
    ("EXISTS nope", ":0"),
    ("HSETEX nope FNX FIELDS 3 a 1 a 2 b 1", ":1"),
    ("HGETALL nope", "*4 $1 a $1 2 $1 b $1 1"),
    ("HSETEX nope EX 1000000000000000 FIELDS 1 a 1", "-ERR invalid expire time in 'hsetex' command"),
    ("HSETEX nope PXAT 70368744177664 FIELDS 1 a 1", "-ERR invalid expire time in 'hsetex' command"),
    ("HSETEX nope PX 70368744177663 FIELDS 1 a 1", "-ERR invalid expire time in 'hsetex' command"),
    ("HGETEX h FIELDS 1 a", "*1 $1 6"),
    ("HGETEX h EX 10 FIELDS 2 a z", "*2 $1 6 $-1"),
    ("HTTL h FIELDS 1 a", "*1 :10"),
    ("HGETEX h PERSIST FIELDS 1 a", "*1 $1 6"),
    ("HTTL h FIELDS 1 a", "*1 :-1"),
    ("HGETEX h PERSIST EX 10 FIELDS 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h EX 10 PERSIST FIELDS 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h PERSIST PERSIST FIELDS 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h FIELDS 1 a PERSIST", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h FIELDS 1 a EX 100", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h FIELDS 1 a b", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
    ("HGETEX h FIELDS x a", "-ERR Number of fields must be a positive integer"),
    ("HGETEX h EX 0 FIELDS 1 a", "*1 $1 6"),
    ("HGETEX h EX x FIELDS 1 a", "-ERR value is not an integer or out of range"),
    ("HGETEX h KEEPTTL FIELDS 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h FOO 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h", "-ERR wrong number of arguments for 'hgetex' command"),
    ("HGETEX nope2 FIELDS 2 a b", "*2 $-1 $-1"),
    ("HGETEX nope2 EX 0 FIELDS 2 a b", "*2 $-1 $-1"),
    ("HGETEX s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HGETEX s FOO 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HGETEX h EXAT 1 FIELDS 1 a", "*1 $-1"),
    ("EXISTS h", ":1"),
    ("HSET h a 1 b 2 c 3", ":3"),
    ("HGETDEL h FIELDS 2 a z", "*2 $1 1 $-1"),
    ("HGETDEL h FIELDS 2 b b", "*2 $1 2 $-1"),
    ("HGETDEL h FOO 2 b b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETDEL h FIELDS 3 b b", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETDEL h FIELDS 0 b b", "-ERR Number of fields must be a positive integer"),
    ("HGETDEL h FIELDS x b b", "-ERR Number of fields must be a positive integer"),
    ("HGETDEL h FIELDS 1 b b", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETDEL h FIELDS 1 c", "*1 $1 3"),
    ("EXISTS h", ":1"),
    ("HGETDEL nope3 FIELDS 2 a b", "*2 $-1 $-1"),
    ("HGETDEL s FIELDS 1 c", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HGETDEL s FOO 1 c", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("HGETDEL s FIELDS 1", "-ERR wrong number of arguments for 'hgetdel' command"),
    ("", ""),
    ("HSETEX h EX 10 FNX KEEPTTL", "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
    ("HSETEX h FNX PX 10 FXX", "-ERR Only one of FXX or FNX arguments can be specified"),
    ("HSETEX h EX 10 PX 10", "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
    ("HSETEX h FNX FNX FNX FNX", "-ERR Only one of FXX or FNX arguments can be specified"),
    ("HSETEX h FNX FXX FNX EX", "-ERR Only one of FXX or FNX arguments can be specified"),
    ("HSETEX h PX 10 FNX EX", "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
    ("HSETEX h PX 10 FNX FIELDS", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h PX 10 FIELDS 1", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h EX -1 FIELDS 0 a 6", "-ERR invalid expire time, must be >= 0"),
    ("HSETEX h FIELDS 9999999999999 a 6", "-ERR invalid number of fields"),
    ("HSETEX h FIELDS -1 a 6", "-ERR invalid number of fields"),
    ("HSETEX h FIELDS 4611686018427387905 a 6", "-ERR invalid number of fields"),
    ("HSETEX h EX 70368744177664 FIELDS 1 a 6", "-ERR invalid expire time in 'hsetex' command"),
    ("HSETEX h EX -1 FNX FXX FIELDS 1 a 6", "-ERR invalid expire time, must be >= 0"),
    ("HSETEX h EX x FNX FXX FIELDS 1 a 6", "-ERR value is not an integer or out of range"),
    ("HSET h a 1 b 2 c 3", ":3"),
    ("HEXPIRE h 10 NX FIELDS 3 a a b", "*3 :1 :0 :1"),
    ("HEXPIRE h 0 FIELDS 3 a a b", "*3 :2 :-2 :2"),
    ("HEXPIRE h 10 FIELDS 2 c c", "*2 :1 :1"),
    ("HPERSIST h FIELDS 2 c c", "*2 :1 :-1"),
    ("HEXPIRE h 10 GT FIELDS 2 c c", "*2 :0 :0"),
    ("HEXPIRE h 10 XX FIELDS 2 c c", "*2 :0 :0"),
    ("HEXPIRE h 10 LT FIELDS 2 c c", "*2 :1 :0"),
    ("HSET h a 1 b 2 c 3", ":2"),
    ("HGETEX h EX 0 FIELDS 2 a a", "*2 $1 1 $-1"),
    ("HGETEX h EX 10 FIELDS 2 b b", "*2 $1 2 $1 2"),
    ("HGETEX h EX -1 FIELDS 2 b b", "-ERR invalid expire time, must be >= 0"),
    ("HGETEX h EX 70368744177664 FIELDS 2 b b", "-ERR invalid expire time in 'hgetex' command"),
    ("HGETEX h EX 10 FIELDS", "-ERR wrong number of arguments for 'hgetex' command"),
    ("HGETEX h EX FIELDS 2 b b", "-ERR value is not an integer or out of range"),
    ("HGETEX h EX 10 EX 10 FIELDS 1 b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h PERSIST 1 b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h PX 10 FIELDS 1 b b", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h FIELDS 9999999999999999999 b b", "-ERR Number of fields must be a positive integer"),
    ("HEXPIRE h 1 FIELDS 9999999999999999999 b b", "-ERR Parameter `numFields` should be greater than 0"),
    ("HTTL h FIELDS 9999999999999999999 b b", "-ERR Number of fields must be a positive integer"),
    ("HGETDEL h FIELDS 9999999999999999999 b b", "-ERR Number of fields must be a positive integer"),
    ("HGETEX h PX 10 FOO 1 b", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX nope EX -1 FIELDS 1 b", "-ERR invalid expire time, must be >= 0"),
    ("HGETDEL h FIELDS 1 b extra", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HLEN h", ":2"),
    ("OBJECT ENCODING h", "$10 listpackex"),
    ("HSET h a 5", ":1"),
    ("HTTL h FIELDS 1 a", "*1 :-1"),
    ("HEXPIRE h 100 FIELDS 1 a", "*1 :1"),
    ("HINCRBY h a 5", ":10"),
    ("HTTL h FIELDS 1 a", "*1 :100"),
    ("HINCRBYFLOAT h a 5", "$2 15"),
    ("HTTL h FIELDS 1 a", "*1 :100"),
    ("HSETNX h a 5", ":0"),
    ("HSET h a 7", ":0"),
    ("HTTL h FIELDS 1 a", "*1 :-1"),
    ("HMSET h a 7", "+OK"),
    ("OBJECT ENCODING h", "$10 listpackex"),
    ("HEXPIRE h 100 FIELDS 1 a", "*1 :1"),
    ("HSCAN h 0 NOVALUES MATCH a", "*2 $1 0 *1 $1 a"),
    ("SSCAN h 0 NOVALUES", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("SADD ss a", ":1"),
    ("SSCAN ss 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN"),
    ("ZADD zz 1 a", ":1"),
    ("ZSCAN zz 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN"),
    ("SCAN 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN"),
    ("HSCAN nope 0 FOO", "*2 $1 0 *0"),
    ("HSCAN nope 0 NOVALUES", "*2 $1 0 *0"),
    ("DEL h", ":1"),
    ("HSET h a 1 b 2", ":2"),
    ("HGETEX h EX 10 FIELDS", "-ERR wrong number of arguments for 'hgetex' command"),
    ("HGETEX h EX 10 FIELDS 1", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h EX 10 FIELDS x", "-ERR Number of fields must be a positive integer"),
    ("HGETEX h EX 10 FOO", "-ERR wrong number of arguments for 'hgetex' command"),
    ("HGETEX h EX x FOO 1 a", "-ERR value is not an integer or out of range"),
    ("HGETEX h EX -1 FOO 1 a", "-ERR invalid expire time, must be >= 0"),
    ("HGETEX h EX x FIELDS 0 a", "-ERR value is not an integer or out of range"),
    ("HGETEX h EX 10 FOO 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETEX h PERSIST FIELDS 1", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HGETEX h FIELDS PERSIST a", "-ERR Number of fields must be a positive integer"),
    ("HEXPIRE h 50 NX FIELDS 1", "-ERR The `numfields` parameter must match the number of arguments"),
    ("HEXPIRE h 50 NX FOO 1", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HEXPIRE h 50 NX FIELDS x", "-ERR Parameter `numFields` should be greater than 0"),
    ("HGETEX h EX 10 FIELDS 2 a a", "*2 $1 1 $1 1"),
    ("HGETEX h PERSIST FIELDS 2 a a", "*2 $1 1 $1 1"),
    ("HTTL h FIELDS 1 a", "*1 :-1"),
    ("HSETEX h FXX FIELDS 2 a 1 z 1", ":0"),
    ("HSETEX h FNX FIELDS 2 y 1 b 1", ":0"),
    ("HSETEX h EX", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HSETEX h FXX FIELDS 2 a 1 b 1", ":1"),
    ("HSETEX h EX 10 FIELDS 2 a 1 a 3", ":1"),
    ("HGET h a", "$1 3"),
    ("HSETEX h FNX EX 10 FIELDS FNX 3 a", "-ERR invalid number of fields"),
    ("HEXPIRE h 5 FIELDS 1 a", "*1 :1"),
    ("HSETEX h FIELDS 1 b 1 KEEPTTL", "-ERR wrong number of arguments for 'hsetex' command"),
    ("HEXPIRE h 1.5 FIELDS 1 a", "-ERR value is not an integer or out of range"),
    ("HINCRBYFLOAT h a 1.5", "$3 4.5"),
    ("HTTL h FIELDS 1 a", "*1 :5"),
    ("COPY h hh", ":1"),
    ("HTTL hh FIELDS 2 a b", "*2 :5 :-1"),
    ("RENAME hh hhh", "+OK"),
    ("HTTL hhh FIELDS 2 a b", "*2 :5 :-1"),
    ("OBJECT ENCODING hhh", "$10 listpackex"),
    ("HPERSIST hhh FIELDS 1 a", "*1 :1"),
];

#[test]
fn replies_and_errors_are_those_of_redis() {
    let mut rig = Rig::new();
    for (request, reply) in REPLIES {
        if request.is_empty() {
            rig = Rig::new();
        } else {
            assert_eq!(rig.line(request), *reply, "{request}");
        }
    }
}

#[test]
fn what_has_expired_is_not_seen_by_any_command_and_not_kept_by_any_write() {
    for many in [false, true] {
        let mut rig = Rig::new();
        if many {
            (0..1000).for_each(|n| drop(rig.line(&format!("HSET h more{n} v"))));
        }
        let stays = if many { 1000 } else { 0 };
        rig.line("HSET h a 1 b 2 c 3");
        rig.line("HPEXPIRE h 10 FIELDS 2 a b");
        rig.now += 10;
        assert_eq!(rig.line("HMGET h a b"), "*2 $1 1 $1 2", "its time has come, but it is not over");
        rig.now += 1;
        for (request, reply) in [
            ("HGET h a", "$-1".to_owned()),
            ("HMGET h a b c", "*3 $-1 $-1 $1 3".to_owned()),
            ("HEXISTS h b", ":0".to_owned()),
            ("HSTRLEN h b", ":0".to_owned()),
            ("HLEN h", format!(":{}", stays + 1)),
            ("HTTL h FIELDS 2 a c", "*2 :-2 :-1".to_owned()),
            ("HEXPIRE h 5 FIELDS 1 a", "*1 :-2".to_owned()),
            ("HPERSIST h FIELDS 1 a", "*1 :-2".to_owned()),
            ("HGETDEL h FIELDS 1 a", "*1 $-1".to_owned()),
            ("HSETEX h FXX FIELDS 1 a 9", ":0".to_owned()),
            ("HDEL h a", ":0".to_owned()),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
            assert!(rig.edits.is_empty(), "{request}");
        }
        for all in ["HGETALL h", "HKEYS h", "HVALS h", "HRANDFIELD h 5000 WITHVALUES", "HSCAN h 0 COUNT 5000"] {
            let reply = rig.line(all);
            assert!(!reply.contains(" $1 a") && !reply.contains(" $1 2"), "{all}: {reply}");
        }
        assert_eq!(rig.line("HINCRBY h a 5"), ":5");
        assert_eq!(rig.line("HSETNX h b 6"), ":1");
        assert_eq!(rig.line("HTTL h FIELDS 2 a b"), "*2 :-1 :-1");
        assert_eq!(rig.line("HLEN h"), format!(":{}", stays + 3));
    }
}

#[test]
fn a_hash_goes_with_the_last_field_that_expires() {
    let mut rig = Rig::new();
    rig.line("HSETEX h PX 10 FIELDS 2 a 1 b 2");
    rig.line("PEXPIRE h 1000000");
    rig.now += 11;
    assert_eq!(rig.line("HLEN h"), ":0");
    assert!(rig.edits[0].contains("Delete(Expired)"), "{:?}", rig.edits);
    assert_eq!(rig.line("EXISTS h"), ":0");
    rig.line("HSETEX h PX 10 FIELDS 2 a 1 b 2");
    rig.line("PEXPIRE h 1000000");
    rig.now += 11;
    assert_eq!(rig.line("HSET h c 3"), ":1");
    assert_eq!(rig.line("PTTL h"), ":-1", "it is another hash");
    assert_eq!(rig.line("HGETALL h"), "*2 $1 c $1 3");
}

#[test]
fn a_copy_a_restored_one_and_a_renamed_one_keep_the_expiries() {
    for many in [0, 1000] {
        let mut rig = Rig::new();
        (0..many).for_each(|n| drop(rig.line(&format!("HSET h more{n} v"))));
        rig.line("HSET h a 1 b 2");
        rig.line("HPEXPIRE h 5000 FIELDS 1 a");
        rig.line("HPEXPIRE h 7000 FIELDS 1 b");
        assert_eq!(rig.line("COPY h c"), ":1");
        assert_eq!(rig.line("RENAME h r"), "+OK");
        let reply = rig.run(&[b"DUMP", b"r"]);
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(rig.run(&[b"RESTORE", b"d", b"0", &reply[start..reply.len() - 2]]), b"+OK\r\n");
        for key in ["c", "r", "d"] {
            assert_eq!(
                rig.line(&format!("HPTTL {key} FIELDS 3 a b more7")),
                format!("*3 :5000 :7000 :{}", if many > 0 { -1 } else { -2 })
            );
            assert_eq!(rig.line(&format!("HLEN {key}")), format!(":{}", many + 2));
        }
    }
}
