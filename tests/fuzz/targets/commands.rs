//! Whatever arguments commands have: the reply is one whole reply; a refusal and a read change nothing; the edits do to
//! a store what they do to a model of one; and the store answers what the model holds.
//!
//! Input: requests as they are typed by hand, one a line. `@ n` lets n milliseconds pass; `SELECT n` and `HELLO n` are
//! understood. Keys are brought into the store's few slots.

use std::collections::BTreeMap;

use rollbook::bench::reply::Replies;
use rollbook::commands::registry::Route;
use rollbook::commands::{Context, Scratch, parse, plan};
use rollbook::encoding::edit::{Change, Edit, EncodedEdits, Removal, split};
use rollbook::encoding::resp::{Args, Limits, Partial, Protocol, Reply, Requests, Span};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::Db;
use rollbook::net::COMMANDS;
use rollbook::store::Store;
use rollbook::time::UnixMillis;

use super::model::{Field, Held, Model};
use super::small::{assert_same, partition, partitions, store, tagged};
use super::tell::tell;

const LIMITS: Limits = Limits { args: 1024, bulk_bytes: 16 << 10, unauthenticated: false };
/// The longest string, so that no input asks for much memory.
const LONGEST: u64 = 64 << 10;

/// Executes the requests.
pub fn run(data: &[u8]) {
    let (mut parser, mut partial, mut rest) = (Requests::default(), Partial::default(), data);
    let mut rig = Rig::new();
    while let Ok(done @ 1..) = parser.parse(rest, &mut partial, &LIMITS, 64) {
        for index in 0..parser.len() {
            rig.request(parser.args(index, rest));
        }
        rest = &rest[done..];
    }
    rig.check();
}

/// A store with all partitions, its model, and what a connection and a clock have chosen.
struct Rig {
    store: Store,
    model: Model,
    now: u64,
    db: Db,
    protocol: Protocol,
    random: fastrand::Rng,
}

impl Rig {
    fn new() -> Self {
        Self {
            store: store(),
            model: Model::default(),
            now: 1_700_000_000_000,
            db: Db(0),
            protocol: Protocol::Resp2,
            random: fastrand::Rng::with_seed(1),
        }
    }

    fn request(&mut self, args: Args<'_>) {
        if args.at(0) == b"@" {
            let time = args.get(1).and_then(parse::integer).unwrap_or(1);
            self.now += time.unsigned_abs() % (1 << 40);
            return;
        }
        let mut words: Vec<Vec<u8>> = args.from(0).map(<[u8]>::to_vec).collect();
        if let Ok(spec) = COMMANDS.registry.resolve(args) {
            spec.key_indices(args).for_each(|key| words[key] = tagged(&words[key]));
        }
        self.words(&words);
    }

    fn words(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let mut start = 0;
        let span = |word: &Vec<u8>| {
            start += word.len();
            Span { start: (start - word.len()) as u32, len: word.len() as u32 }
        };
        let spans: Vec<_> = words.iter().map(span).collect();
        self.execute(Args::new(&words.concat(), &spans))
    }

    /// Executes a request and returns its reply.
    fn execute(&mut self, args: Args<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.protocol);
        let spec = match COMMANDS.registry.resolve(args) {
            Ok(spec) => spec,
            Err(refusal) => {
                refusal.reply(&mut reply);
                return one_reply(out);
            }
        };
        if tell(spec, args, &mut reply) {
            return one_reply(out);
        }
        if spec.route == Route::Session {
            self.choose(spec.name, args);
            return out;
        }
        let context = self.context(spec.first_key(args).map(slot_of).unwrap_or_default());
        self.store.set_clock(context.coarse_now());
        let mut scratch = Scratch::default();
        let effects = plan(spec, &self.store, &context, args, &mut scratch, &mut reply);
        if effects.waits {
            reply.null();
        }
        let edits = effects.edits;
        let changes = edits.iter().any(|edit| !is_expiry(edit));
        // PFCOUNT is a read that keeps the count in the value.
        assert!(!changes || spec.is_write() || spec.name == "pfcount", "{} changes something", spec.name);
        assert!(!changes || out.first() != Some(&b'-'), "{} changes something and refuses", spec.name);
        let mut encoded = EncodedEdits::new();
        for edit in &edits {
            encoded.push(partition(edit), edit);
            let (applied, modelled) = (self.store.apply(edit), self.model.apply(edit));
            assert!(applied.is_ok() && modelled, "{} plans what contradicts the data: {edit:?}", spec.name);
        }
        for (bytes, edit) in split(encoded.as_bytes()).zip(&edits) {
            let decoded = Edit::decode(bytes.expect("whole edits")).expect("an edit that was written");
            assert_eq!(decoded, *edit, "what was written means something else");
        }
        one_reply(out)
    }

    fn context(&mut self, slot: rollbook::ids::Slot) -> Context {
        Context {
            db: self.db,
            slot,
            now: UnixMillis::new(self.now),
            random: self.random.u64(..),
            touch: self.random.bool(),
            max_string: LONGEST,
            max_reply: 1 << 20,
            partitions: partitions(),
            owned: 0..1,
        }
    }

    /// What commands choose that a connection executes.
    fn choose(&mut self, command: &str, args: Args<'_>) {
        match (command, args.get(1)) {
            ("select", Some(db)) => self.db = parse::database(db).unwrap_or(self.db),
            ("hello", Some(b"2")) => self.protocol = Protocol::Resp2,
            ("hello", Some(b"3")) => self.protocol = Protocol::Resp3,
            _ => {}
        }
    }

    /// Store and model hold the same, and the store answers what they hold.
    fn check(&mut self) {
        assert_same(&self.store, &self.model);
        self.protocol = Protocol::Resp2;
        for ((db, key), (held, expire_at)) in self.model.0.clone() {
            self.db = Db(db);
            let is_over = |at: Option<UnixMillis>| at.is_some_and(|at| at.get() < self.now);
            let live = |fields: &BTreeMap<Vec<u8>, Field>| fields.values().filter(|(_, at)| !is_over(*at)).count();
            let is_over = is_over(expire_at);
            let (name, expected) = match (&held, is_over) {
                (Held::String(_), true) => ("GET", b"$-1\r\n".to_vec()),
                (Held::String(value), false) => {
                    ("GET", [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat())
                }
                (Held::Hash(_), true) => ("HLEN", b":0\r\n".to_vec()),
                (Held::Set(_), true) => ("SCARD", b":0\r\n".to_vec()),
                (Held::Set(members), false) => ("SCARD", format!(":{}\r\n", members.len()).into_bytes()),
                (Held::SortedSet(_), true) => ("ZCARD", b":0\r\n".to_vec()),
                (Held::SortedSet(members), false) => ("ZCARD", format!(":{}\r\n", members.len()).into_bytes()),
                (Held::Hash(fields), false) => ("HLEN", format!(":{}\r\n", live(fields)).into_bytes()),
                (Held::List(_), true) => ("LLEN", b":0\r\n".to_vec()),
                (Held::List(elements), false) => ("LLEN", format!(":{}\r\n", elements.len()).into_bytes()),
                (Held::Stream(_), true) => ("XLEN", b":0\r\n".to_vec()),
                (Held::Stream(stream), false) => ("XLEN", format!(":{}\r\n", stream.events.len()).into_bytes()),
            };
            let reply = self.words(&[name.into(), key.clone()]);
            assert_eq!(reply, expected, "{name} \"{}\"", key.escape_ascii());
        }
    }
}

/// An edit that says no more than that a key's time has come.
fn is_expiry(edit: &Edit<'_>) -> bool {
    matches!(edit, Edit::Key { change: Change::Delete(Removal::Expired), .. })
}

/// The reply, which is whole and the only one.
fn one_reply(bytes: Vec<u8>) -> Vec<u8> {
    let (mut replies, mut count) = (Replies::default(), 0);
    let fed = replies.feed(&bytes, |answer| {
        count += match answer {
            rollbook::bench::reply::Answer::Good(count) => count,
            rollbook::bench::reply::Answer::Error(_) => 1,
        };
    });
    assert!(fed.is_ok() && count == 1 && replies.is_between(), "{} is not one reply", bytes.escape_ascii());
    bytes
}
