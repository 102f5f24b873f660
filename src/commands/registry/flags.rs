//! Properties of commands, as bit sets whose members have Redis's names.

macro_rules! bits {
    ($(#[$doc:meta])* $set:ident($repr:ty) { $($(#[$bit_doc:meta])* $name:ident = $bit:expr, $text:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set($repr);

        impl $set {
            /// The empty set.
            pub const NONE: Self = Self(0);
            $($(#[$bit_doc])* pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, $text)),*];

            /// Union of both sets.
            pub const fn and(self, more: Self) -> Self {
                Self(self.0 | more.0)
            }

            /// Whether all members of `some` are in this set.
            #[inline]
            pub const fn contains(self, some: Self) -> bool {
                self.0 & some.0 == some.0
            }

            /// Names of the members.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                Self::NAMES.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
            }

            /// The set with the one member called `name`, in any letter case.
            pub fn named(name: &[u8]) -> Option<Self> {
                Self::NAMES.iter().find(|(_, own)| own.as_bytes().eq_ignore_ascii_case(name)).map(|(bit, _)| *bit)
            }
        }
    };
}

bits! {
    /// Command flags, in the order in which `COMMAND INFO` lists them.
    Flags(u16) {
        /// Command may change data.
        WRITE = 0, "write";
        /// Command only reads data.
        READONLY = 1, "readonly";
        /// Command is refused when memory is used up.
        DENYOOM = 2, "denyoom";
        /// Command is for operators.
        ADMIN = 3, "admin";
        /// Command is not allowed in scripts.
        NOSCRIPT = 4, "noscript";
        /// Command may block the client.
        BLOCKING = 5, "blocking";
        /// Command is allowed while data is being loaded.
        LOADING = 6, "loading";
        /// Command is allowed on a replica that has lost its master.
        STALE = 7, "stale";
        /// Command's cost does not depend on the amount of data.
        FAST = 8, "fast";
        /// Command is allowed before authentication.
        NO_AUTH = 9, "no_auth";
        /// Command is refused while data is being loaded in the background.
        NO_ASYNC_LOADING = 10, "no_async_loading";
        /// Command is not allowed in a transaction.
        NO_MULTI = 11, "no_multi";
        /// Command is allowed while a script runs too long.
        ALLOW_BUSY = 12, "allow_busy";
    }
}

bits! {
    /// Access-control categories, in Redis's order.
    Categories(u32) {
        /// Commands on keys of any type.
        KEYSPACE = 0, "keyspace";
        /// Commands that read data.
        READ = 1, "read";
        /// Commands that change data.
        WRITE = 2, "write";
        /// Commands on sets.
        SET = 3, "set";
        /// Commands on sorted sets.
        SORTEDSET = 4, "sortedset";
        /// Commands on lists.
        LIST = 5, "list";
        /// Commands on hashes.
        HASH = 6, "hash";
        /// Commands on strings.
        STRING = 7, "string";
        /// Commands on bitmaps.
        BITMAP = 8, "bitmap";
        /// Commands on HyperLogLogs.
        HYPERLOGLOG = 9, "hyperloglog";
        /// Commands on geographic positions.
        GEO = 10, "geo";
        /// Commands on streams.
        STREAM = 11, "stream";
        /// Commands for publish and subscribe.
        PUBSUB = 12, "pubsub";
        /// Commands for operators.
        ADMIN = 13, "admin";
        /// Commands whose cost does not depend on the amount of data.
        FAST = 14, "fast";
        /// Commands that are not in `FAST`.
        SLOW = 15, "slow";
        /// Commands that may block the client.
        BLOCKING = 16, "blocking";
        /// Commands that can do harm, or are for operators.
        DANGEROUS = 17, "dangerous";
        /// Commands on connections.
        CONNECTION = 18, "connection";
        /// Commands for transactions.
        TRANSACTION = 19, "transaction";
        /// Commands for scripts.
        SCRIPTING = 20, "scripting";
    }
}

bits! {
    /// What a command does to a key, in the terms of Redis's key specifications.
    KeyFlags(u16) {
        /// Key is only read.
        RO = 0, "RO";
        /// Key is read and changed.
        RW = 1, "RW";
        /// Key is overwritten, whatever it held.
        OW = 2, "OW";
        /// Key is deleted.
        RM = 3, "RM";
        /// Key's value is returned, copied or used.
        ACCESS = 4, "access";
        /// Key's value is changed.
        UPDATE = 5, "update";
        /// Something is added to the key's value; nothing else changes.
        INSERT = 6, "insert";
        /// Some of the key's content is deleted.
        DELETE = 7, "delete";
        /// The flags that apply depend on the arguments.
        VARIABLE = 8, "variable_flags";
        /// Argument is not a key, but is routed as one.
        NOT_KEY = 9, "not_key";
        /// The command may use more keys than the specification finds.
        INCOMPLETE = 10, "incomplete";
    }
}

impl Categories {
    /// Adds the categories that follow from a command's flags.
    pub(super) const fn with_implied(self, flags: Flags) -> Self {
        let mut all = self.and(if flags.contains(Flags::FAST) { Self::FAST } else { Self::SLOW });
        if flags.contains(Flags::WRITE) {
            all = all.and(Self::WRITE);
        }
        if flags.contains(Flags::READONLY) {
            all = all.and(Self::READ);
        }
        if flags.contains(Flags::ADMIN) {
            all = all.and(Self::ADMIN).and(Self::DANGEROUS);
        }
        if flags.contains(Flags::BLOCKING) {
            all = all.and(Self::BLOCKING);
        }
        all
    }
}
