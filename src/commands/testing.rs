//! Test helper for the command families: a store on which requests are planned and applied.

use std::sync::LazyLock;

use super::registry::{Group, PlanFn, Route, row};
use super::{Context, FAMILIES, Plan, Planned, Registry, Scratch, Spec, plan};
use crate::encoding::edit::{Change, Edit, EncodedEdits, split};
use crate::encoding::resp::{Args, Protocol, Reply, Span};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, Partitions};
use crate::store::Store;
use crate::time::UnixMillis;

/// Registry of the commands on data.
pub(super) static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new(FAMILIES.iter().copied()));

/// Calls `test` with `text` as a request; single spaces separate its words.
pub(crate) fn request<R>(text: &str, test: impl FnOnce(Args<'_>) -> R) -> R {
    let mut start = 0;
    let spans: Vec<_> = text
        .split(' ')
        .map(|word| {
            let span = Span { start, len: word.len() as u32 };
            start += span.len + 1;
            span
        })
        .collect();
    test(Args::new(text.as_bytes(), &spans))
}

/// A command with a bug: its plan sets an expiry on its key, even if the key does not exist.
pub(crate) static FAULTY: LazyLock<Spec> = LazyLock::new(|| test_command("faulty", plan_faulty));
/// A command that always waits: its key never holds anything for it.
pub(crate) static WAITING: LazyLock<Spec> = LazyLock::new(|| test_command("waiting", |plan, _| plan.wait()));

fn test_command(name: &'static str, plan: PlanFn) -> Spec {
    Spec::new(Group::Generic, name, 2, "key")
        .plan(plan)
        .flags(row::PUT, row::KEYSPACE)
        .keys(row::CHANGED)
        .route(Route::Key)
}

fn plan_faulty<'a>(plan: &mut Plan<'_, 'a, '_>, _: &'a mut Scratch) -> Planned {
    plan.reply.ok();
    plan.edit_first(Change::SetExpiry(Some(UnixMillis::new(1))));
    Ok(())
}

/// A store with all partitions, and a clock.
pub(super) struct Rig {
    pub(super) store: Store,
    pub(super) now: u64,
    pub(super) db: Db,
    pub(super) protocol: Protocol,
    pub(super) max_string: u64,
    /// Edits of the last request, formatted as text.
    pub(super) edits: Vec<String>,
    random: u64,
}

const PARTITIONS: u16 = 16;

impl Rig {
    /// A rig whose stream `s` has the entries 1-0 to 4-0, and a group `g` that has read none of them.
    pub(super) fn with_group() -> Self {
        let mut rig = Self::new();
        (1..=4).for_each(|n| drop(rig.line(&format!("XADD s {n}-0 a {n}"))));
        rig.line("XGROUP CREATE s g 0");
        rig
    }

    pub(super) fn new() -> Self {
        let partitions = Partitions::new(PARTITIONS).unwrap();
        Self {
            store: Store::new(partitions, 0..PARTITIONS),
            now: 1_700_000_000_000,
            db: Db(0),
            protocol: Protocol::Resp2,
            max_string: 512 << 20,
            edits: Vec::new(),
            random: 1,
        }
    }

    /// Plans a request, applies its edits after encoding and decoding them as a log does, and returns the reply.
    pub(super) fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let bytes = words.concat();
        let mut start = 0;
        let mut spans = Vec::new();
        for word in words {
            spans.push(Span { start, len: word.len() as u32 });
            start += word.len() as u32;
        }
        let args = Args::new(&bytes, &spans);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.protocol);
        self.edits.clear();
        let spec = match REGISTRY.resolve(args) {
            Ok(spec) => spec,
            Err(refusal) => {
                refusal.reply(&mut reply);
                return out;
            }
        };
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let context = Context {
            db: self.db,
            slot: spec.first_key(args).map(slot_of).unwrap_or_default(),
            now: UnixMillis::new(self.now),
            random: self.random,
            touch: true,
            max_string: self.max_string,
            max_reply: 1 << 20,
            partitions: Partitions::new(PARTITIONS).unwrap(),
            owned: 0..PARTITIONS,
        };
        self.store.set_clock(context.coarse_now());
        let mut scratch = Scratch::default();
        let mut encoded = EncodedEdits::new();
        let effects = plan(spec, &self.store, &context, args, &mut scratch, &mut reply);
        if effects.waits {
            reply.null();
        }
        for edit in effects.edits {
            let partition = match &edit {
                Edit::Key { slot, .. } => context.partitions.of(*slot),
                Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => {
                    *partition
                }
            };
            encoded.push(partition, &edit);
        }
        for edit in split(encoded.as_bytes()) {
            let edit = Edit::decode(edit.unwrap()).unwrap();
            self.edits.push(format!("{edit:?}"));
            self.store.apply(&edit).unwrap();
        }
        out
    }

    /// Like [`Self::run`], with request and reply as lines of text.
    pub(super) fn line(&mut self, request: &str) -> String {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        String::from_utf8_lossy(&self.run(&words)).trim_end().replace("\r\n", " ")
    }
}
