//! One key and its value, or one element of a large value, in a single allocation.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the [`Head`]: lengths, kind, whether it expires |
//! | 4 | coarse time of the last use |
//! | 8 or 0 | when it expires, if it does |
//! | … | the key |
//! | … | the value: bytes of some [`Kind`], or the address of a [`Structure`] |
//!
//! A record is represented by its 48-bit address; the high 16 bits of the pointer hold some bits of the key's hash, so
//! that tables can tell most records apart, and be rebuilt, without reading the records.
//!
//! The value comes last, so that it can grow and shrink in place as far as the allocator's size class allows.

use std::alloc::{alloc, dealloc, handle_alloc_error, realloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::head::{CLOCK, EXPIRY, Head};
use crate::store::prefetch;
use crate::store::value::form::{Form, Kind, Stored, Structure};
use crate::time::UnixMillis;

/// Largest allocation, in bytes, that is moved to a smaller block when the value shrinks.
const MOVED: usize = 64 << 10;

/// Bytes at the start of a record to prefetch while its length is still unknown.
const PREFETCHED: usize = 128;

/// A key with its value, expiry and time of last use; plus 16 bits of the key's hash, 0 until they are set.
pub(in crate::store) struct Record(NonNull<u8>);

/// Number of bits in an address. No system that this program runs on gives a process higher addresses unless asked to.
const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;

// SAFETY: a record owns what it points to, as a `Box` does; nothing in it is bound to a thread.
unsafe impl Send for Record {}
// SAFETY: through a shared reference only the clock changes, and that is an atomic.
unsafe impl Sync for Record {}

/// Address of a record that something else owns. It stays valid while the record is there and neither its key nor the
/// length of its value changes; see [`RecordRef::key`].
#[derive(Clone, Copy)]
pub(in crate::store) struct RecordRef(NonNull<u8>);

// SAFETY: an address is not bound to a thread; who reads through it answers for the record.
unsafe impl Send for RecordRef {}
// SAFETY: as above.
unsafe impl Sync for RecordRef {}

impl RecordRef {
    /// The address as a number, by which records are told apart.
    #[inline]
    pub fn address(self) -> usize {
        self.0.addr().get() & ADDRESS_MASK
    }

    /// The record's key.
    ///
    /// # Safety
    /// The record must exist, and go on to for `'a`; no key or value may have moved it.
    #[inline]
    pub unsafe fn key<'a>(self) -> &'a [u8] {
        let record = ManuallyDrop::new(Record(self.0));
        // SAFETY: the caller says that the record exists, and it is not dropped here; `key_bytes` lie within it.
        unsafe { record.key_bytes().as_ref() }
    }
}

impl Record {
    /// Makes a record with these bytes as value. `clock` is the coarse time of last use.
    ///
    /// # Panics
    /// If key or value is longer than the head can express.
    #[inline]
    pub fn new(kind: Kind, key: &[u8], value: &[u8], expire_at: Option<UnixMillis>, clock: u32) -> Self {
        Self::with_form(Form::Bytes(kind), key, value, expire_at, clock)
    }

    /// Makes a record whose value is `structure`, which it owns.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn with_structure(key: &[u8], structure: Box<Structure>, expire_at: Option<UnixMillis>, clock: u32) -> Self {
        let address = Box::into_raw(structure).expose_provenance();
        Self::with_form(Form::Structure, key, &address.to_ne_bytes(), expire_at, clock)
    }

    #[inline]
    fn with_form(form: Form, key: &[u8], value: &[u8], expire_at: Option<UnixMillis>, clock: u32) -> Self {
        let head = Head::new(form, expire_at.is_some(), key.len(), value.len());
        let layout = head.layout();
        // SAFETY: the layout's size is at least that of the header.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let record = Self::at(start, 0);
        // SAFETY: `start` is aligned to 8 and `head.end()` bytes long at least; head, clock, expiry, key and value lie
        // behind each other in it, and the new allocation overlaps neither `key` nor `value`.
        unsafe {
            start.cast().write(head);
            start.add(CLOCK).cast().write(clock);
            if let Some(at) = expire_at {
                start.add(EXPIRY).cast().write_unaligned(at.get());
            }
            start.add(head.key_at()).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            start.add(head.value_at()).copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        record
    }

    /// Makes the record whose allocation begins at `start`, with these bits of its key's hash.
    #[inline]
    fn at(start: NonNull<u8>, hash: u16) -> Self {
        assert!(start.addr().get() & !ADDRESS_MASK == 0, "addresses have 48 bits");
        Self(start.map_addr(|address| address | usize::from(hash) << ADDRESS_BITS))
    }

    /// Address of the allocation.
    #[inline]
    fn start(&self) -> NonNull<u8> {
        let start = self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK);
        // SAFETY: `at` was given an address that is not null and lies within the mask.
        unsafe { NonNull::new_unchecked(start) }
    }

    /// The 16 hash bits set by [`Self::with_hash16`]; 0 before.
    #[inline]
    pub fn hash16(&self) -> u16 {
        (self.0.addr().get() >> ADDRESS_BITS) as u16
    }

    /// Sets the 16 bits of the key's hash that the record carries.
    #[inline]
    pub fn with_hash16(self, hash: u16) -> Self {
        let record = Self::at(self.start(), hash);
        std::mem::forget(self);
        record
    }

    /// Replaces this record by `new`, which has the same key. The hash bits stay.
    #[inline]
    pub fn replace(&mut self, new: Self) {
        *self = new.with_hash16(self.hash16());
    }

    /// Gives the value, its expiry and its time of last use to another key. A structure goes over as it is; bytes are
    /// copied.
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let new = Self::with_form(self.head().form(), key, self.bytes(), self.expire_at(), self.clock());
        self.disown_structure();
        new
    }

    /// Prefetches the start of the record.
    #[inline]
    pub fn prefetch(&self) {
        prefetch::bytes(self.start().as_ptr(), PREFETCHED);
    }

    /// Prefetches the key.
    #[inline]
    pub fn prefetch_key(&self) {
        prefetch::bytes(self.start().as_ptr(), 1);
    }

    #[inline]
    fn head(&self) -> Head {
        // SAFETY: every record begins with an aligned head.
        unsafe { self.start().cast().read() }
    }

    /// Address of the record, for who makes sure that it stays.
    #[inline]
    pub const fn reference(&self) -> RecordRef {
        RecordRef(self.0)
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        // SAFETY: `new` wrote these bytes; they live and stay unchanged as long as the record is borrowed.
        unsafe { self.key_bytes().as_ref() }
    }

    /// Where the key is.
    #[inline]
    fn key_bytes(&self) -> NonNull<[u8]> {
        let head = self.head();
        // SAFETY: the key lies within the record's allocation.
        NonNull::slice_from_raw_parts(unsafe { self.start().add(head.key_at()) }, head.key_len())
    }

    /// Kind of the value's bytes; `None` if the value is a structure.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        match self.head().form() {
            Form::Bytes(kind) => Some(kind),
            Form::Structure => None,
        }
    }

    /// Raw bytes of the value; for a structure, the bytes of its address.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let head = self.head();
        // SAFETY: `value_len` bytes there are initialised; they live and stay unchanged as long as the record is
        // borrowed.
        unsafe { NonNull::slice_from_raw_parts(self.start().add(head.value_at()), head.value_len()).as_ref() }
    }

    /// Bytes of the value for modification; `None` if the value is a structure.
    #[inline]
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let head = self.head();
        if head.form() == Form::Structure {
            return None;
        }
        // SAFETY: as in `bytes`; the exclusive borrow makes it the only reference.
        Some(unsafe { NonNull::slice_from_raw_parts(self.start().add(head.value_at()), head.value_len()).as_mut() })
    }

    /// The value in its stored form.
    #[inline]
    pub fn stored(&self) -> Stored<'_> {
        match self.head().form() {
            Form::Bytes(kind) => Stored::Bytes(kind, self.bytes()),
            // SAFETY: `with_structure` put the address of a box there that this record owns.
            Form::Structure => Stored::Structure(unsafe { &*self.structure() }),
        }
    }

    /// The structure for modification; `None` if the value is not a structure.
    pub fn structure_mut(&mut self) -> Option<&mut Structure> {
        // SAFETY: as in `stored`; the exclusive borrow makes it the only reference.
        (self.head().form() == Form::Structure).then(|| unsafe { &mut *self.structure() })
    }

    /// Address of the structure; meaningless if the value is not a structure.
    fn structure(&self) -> *mut Structure {
        let address = self.bytes().first_chunk().map_or(0, |bytes| usize::from_ne_bytes(*bytes));
        std::ptr::with_exposed_provenance_mut(address)
    }

    /// Time at which the key expires, if any.
    #[inline]
    pub fn expire_at(&self) -> Option<UnixMillis> {
        // SAFETY: the head says that `new` wrote an expiry there.
        self.head().expires().then(|| UnixMillis::new(unsafe { self.start().add(EXPIRY).cast().read_unaligned() }))
    }

    /// Changes the key's expiry. The record is reallocated if adding or removing the expiry changes its layout.
    pub fn set_expire_at(&mut self, expire_at: Option<UnixMillis>) {
        let head = self.head();
        if let (Some(at), true) = (expire_at, head.expires()) {
            // SAFETY: the head says that there is an expiry there.
            unsafe { self.start().add(EXPIRY).cast().write_unaligned(at.get()) };
        } else if expire_at.is_some() != head.expires() {
            let new = Self::with_form(head.form(), self.key(), self.bytes(), expire_at, self.clock());
            self.disown_structure();
            self.replace(new);
        }
    }

    /// Takes the structure out of the record. Leaves the value as a string of 8 arbitrary bytes; the caller overwrites
    /// or drops the record.
    pub fn take_structure(&mut self) -> Option<Box<Structure>> {
        if self.head().form() != Form::Structure {
            return None;
        }
        let structure = self.structure();
        self.disown_structure();
        // SAFETY: `with_structure` put the address of a box there, and with the form the record has just given up its
        // claim to it.
        Some(unsafe { Box::from_raw(structure) })
    }

    /// Turns the structure's address, if there is one, into plain bytes, because something else owns the structure from
    /// now on.
    fn disown_structure(&mut self) {
        let head = self.head();
        if head.form() == Form::Structure {
            // SAFETY: every record begins with an aligned head; the lengths stay.
            unsafe { self.start().cast().write(head.with_form(Form::Bytes(Kind::String))) };
        }
    }

    /// Coarse time of the last use.
    #[inline]
    pub fn clock(&self) -> u32 {
        self.clock_cell().load(Ordering::Relaxed)
    }

    /// Sets the time of last use.
    #[inline]
    pub fn touch(&self, now: u32) {
        self.clock_cell().store(now, Ordering::Relaxed);
    }

    fn clock_cell(&self) -> &AtomicU32 {
        // SAFETY: the clock stands aligned in every record, and nothing but this reference is used to get at it once
        // the record is made.
        unsafe { self.start().add(CLOCK).cast().as_ref() }
    }

    /// Replaces the bytes of the value; the kind stays.
    ///
    /// # Panics
    /// If the value is a structure, or the new bytes exceed the maximum length of a value.
    #[inline]
    pub fn set_bytes(&mut self, value: &[u8]) {
        let head = self.head();
        if value.len() != head.value_len() {
            if head.with_value_len(value.len()).memory() != head.memory() {
                // The record has to move, and its old bytes need not be copied.
                assert!(head.form() != Form::Structure, "a structure is never overwritten");
                return self.replace(Self::with_form(head.form(), self.key(), value, self.expire_at(), self.clock()));
            }
            self.resize(value.len());
        }
        self.bytes_mut().expect("a structure is never overwritten").copy_from_slice(value);
    }

    /// Resizes the bytes of the value; new bytes are zero.
    ///
    /// # Panics
    /// If the value is a structure, or `len` exceeds the maximum length of a value.
    pub fn resize(&mut self, len: usize) {
        let old = self.head();
        assert!(old.form() != Form::Structure, "a structure is never resized");
        let new = old.with_value_len(len);
        let (from, to) = (old.layout(), new.layout());
        let mut start = self.start();
        if from.size() != to.size() {
            // The allocator leaves a block where it is as long as half of it is used.
            let must_move = new.memory() < old.memory() && old.memory() <= MOVED;
            // SAFETY: allocated with layout `from`; the new size is that of a layout of the same alignment, and not 0.
            // What is moved here is as long as the shorter block, and the old block is freed once.
            let moved = unsafe {
                if must_move {
                    let moved = alloc(to);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(start.as_ptr(), to.size().min(from.size()));
                        dealloc(start.as_ptr(), from);
                    }
                    moved
                } else {
                    realloc(start.as_ptr(), from, to.size())
                }
            };
            start = NonNull::new(moved).unwrap_or_else(|| handle_alloc_error(to));
            std::mem::forget(std::mem::replace(self, Self::at(start, self.hash16())));
        }
        // SAFETY: `start` is aligned and `new.end()` bytes long at least; the bytes up to the lesser end have been
        // kept.
        unsafe {
            start.cast().write(new);
            if let Some(more @ 1..) = len.checked_sub(old.value_len()) {
                start.add(old.end()).write_bytes(0, more);
            }
        }
    }

    /// Bytes of memory that the allocation takes, without the structure (see [`Structure::memory`]).
    #[inline]
    pub fn memory(&self) -> usize {
        self.head().memory()
    }
}

impl Drop for Record {
    #[inline]
    fn drop(&mut self) {
        drop(self.take_structure());
        // SAFETY: allocated with this layout; nothing refers to it any more.
        unsafe { dealloc(self.start().as_ptr(), self.head().layout()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::allocated;
    use crate::store::table::Seed;
    use crate::store::value::elements::{Element, ElementTable};

    fn at(millis: u64) -> Option<UnixMillis> {
        Some(UnixMillis::new(millis))
    }

    #[test]
    fn a_record_keeps_all_it_is_given_through_every_change() {
        let mut record = Record::new(Kind::String, b"key", b"value", at(7), 42).with_hash16(0xbeef);
        for (len, expire_at) in [(5, None), (500, at(8)), (0, at(9)), (2_000_000, None), (2_000_001, at(1)), (3, None)]
        {
            let value = vec![b'v'; len];
            record.set_bytes(&value);
            record.set_expire_at(expire_at);
            assert_eq!((record.key(), record.bytes(), record.expire_at()), (&b"key"[..], &value[..], expire_at));
            record.resize(len + 100);
            assert_eq!((&record.bytes()[..len], &record.bytes()[len..]), (&value[..], &[0; 100][..]));
            record.resize(len);
            assert_eq!(record.bytes(), value);
            assert_eq!((record.clock(), record.hash16()), (42, 0xbeef));
        }
        record.touch(43);
        assert_eq!(record.clock(), 43);
        assert_eq!(record.kind(), Some(Kind::String));
    }

    #[test]
    fn a_structure_belongs_to_one_record_at_a_time() {
        let structure = || {
            let mut fields = ElementTable::with_capacity(Seed::get(), 1);
            fields.set(Element::new((b"name", b"value")), |_| 0);
            Box::new(Structure::Hash(fields))
        };
        let mut record = Record::with_structure(b"key", structure(), None, 0);
        record.set_expire_at(at(5));
        let mut record = record.renamed(b"another key");
        assert_eq!((record.key(), record.expire_at()), (&b"another key"[..], at(5)));
        assert!(
            matches!(record.stored(), Stored::Structure(Structure::Hash(fields)) if fields.find(b"name").is_some())
        );
        assert!(record.bytes_mut().is_none() && record.structure_mut().is_some() && record.kind().is_none());
        assert_eq!(record.take_structure().map(|structure| structure.len()), Some(1));
        assert!(record.take_structure().is_none());
        record.replace(Record::with_structure(b"key", structure(), None, 0));
        assert!(record.structure_mut().is_some());
    }

    #[test]
    fn classes_are_those_of_the_allocator() {
        let sizes = (1..5000).chain((5000..300_000).step_by(509)).chain((1..20).map(|power| 1 << power));
        for bytes in sizes {
            // SAFETY: the block is only measured, and freed once.
            let class = unsafe {
                let block = libmimalloc_sys::mi_malloc(bytes);
                let class = libmimalloc_sys::mi_usable_size(block);
                libmimalloc_sys::mi_free(block);
                class
            };
            // The allocator has two classes of less than 16 bytes.
            assert_eq!(allocated(bytes), class.next_multiple_of(16), "{bytes}");
        }
    }
}
