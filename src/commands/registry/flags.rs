//! Properties of commands, as sets of bits, with the names that Redis gives them.

macro_rules! bits {
    ($(#[$doc:meta])* $set:ident($repr:ty) { $($(#[$bit_doc:meta])* $name:ident = $bit:expr, $text:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set($repr);

        impl $set {
            /// None of them.
            pub const NONE: Self = Self(0);
            $($(#[$bit_doc])* pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, $text)),*];

            /// These and those.
            pub const fn and(self, more: Self) -> Self {
                Self(self.0 | more.0)
            }

            /// Whether all of `some` are in it.
            #[inline]
            pub const fn contains(self, some: Self) -> bool {
                self.0 & some.0 == some.0
            }

            /// The names of those in it.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                Self::NAMES.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
            }

            /// The one that is called `name`, in any letter case.
            pub fn named(name: &[u8]) -> Option<Self> {
                Self::NAMES.iter().find(|(_, own)| own.as_bytes().eq_ignore_ascii_case(name)).map(|(bit, _)| *bit)
            }
        }
    };
}

bits! {
    /// What kind of command it is, in the order in which `COMMAND INFO` lists them.
    Flags(u16) {
        /// It can change data.
        WRITE = 0, "write";
        /// It reads data.
        READONLY = 1, "readonly";
        /// It is refused when memory is used up.
        DENYOOM = 2, "denyoom";
        /// It is for operators.
        ADMIN = 3, "admin";
        /// Not allowed in scripts.
        NOSCRIPT = 4, "noscript";
        /// It waits.
        BLOCKING = 5, "blocking";
        /// Allowed while data is being loaded.
        LOADING = 6, "loading";
        /// Allowed on a replica that has lost its master.
        STALE = 7, "stale";
        /// Its cost does not depend on the data.
        FAST = 8, "fast";
        /// Allowed before authentication.
        NO_AUTH = 9, "no_auth";
        /// Refused while data is being loaded in the background.
        NO_ASYNC_LOADING = 10, "no_async_loading";
        /// Not allowed in a transaction.
        NO_MULTI = 11, "no_multi";
        /// Allowed while a script runs too long.
        ALLOW_BUSY = 12, "allow_busy";
    }
}

bits! {
    /// Access-control categories, in Redis's order.
    Categories(u32) {
        /// Keys of whatever type.
        KEYSPACE = 0, "keyspace";
        /// Reads data.
        READ = 1, "read";
        /// Changes data.
        WRITE = 2, "write";
        /// Sets.
        SET = 3, "set";
        /// Sorted sets.
        SORTEDSET = 4, "sortedset";
        /// Lists.
        LIST = 5, "list";
        /// Hashes.
        HASH = 6, "hash";
        /// Strings.
        STRING = 7, "string";
        /// Bitmaps.
        BITMAP = 8, "bitmap";
        /// HyperLogLogs.
        HYPERLOGLOG = 9, "hyperloglog";
        /// Places.
        GEO = 10, "geo";
        /// Streams.
        STREAM = 11, "stream";
        /// Publish and subscribe.
        PUBSUB = 12, "pubsub";
        /// For operators.
        ADMIN = 13, "admin";
        /// Cost independent of the data.
        FAST = 14, "fast";
        /// All others.
        SLOW = 15, "slow";
        /// Waits.
        BLOCKING = 16, "blocking";
        /// Can do harm, or is for operators.
        DANGEROUS = 17, "dangerous";
        /// Connections.
        CONNECTION = 18, "connection";
        /// Transactions.
        TRANSACTION = 19, "transaction";
        /// Scripts.
        SCRIPTING = 20, "scripting";
    }
}

bits! {
    /// What a command does to a key, in the words of Redis's key specifications.
    KeyFlags(u16) {
        /// Reads it.
        RO = 0, "RO";
        /// Reads and changes it.
        RW = 1, "RW";
        /// Overwrites it, whatever it was.
        OW = 2, "OW";
        /// Removes it.
        RM = 3, "RM";
        /// Its value is returned, copied or used.
        ACCESS = 4, "access";
        /// Its value is changed.
        UPDATE = 5, "update";
        /// Something is added to it, nothing else changes.
        INSERT = 6, "insert";
        /// Something of it is deleted.
        DELETE = 7, "delete";
        /// It depends on the arguments which of these hold.
        VARIABLE = 8, "variable_flags";
        /// It looks like a key and is none, but is routed as one.
        NOT_KEY = 9, "not_key";
        /// There may be more keys of this group than the specification finds.
        INCOMPLETE = 10, "incomplete";
    }
}

impl Categories {
    /// These, and those that follow from a command's flags.
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
