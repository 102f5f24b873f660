//! Detects arguments that occur twice in one request, without a quadratic search.

use hashbrown::HashSet;
use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Builder;

/// Number of names up to which a linear search is fastest.
const FEW: usize = 16;

/// Set of the names seen so far.
#[derive(Default)]
pub(super) struct Seen<'a> {
    few: SmallVec<[&'a [u8]; FEW]>,
    /// Hash set of all names, once there are more than a few.
    many: Option<HashSet<&'a [u8], Xxh3Builder>>,
}

impl<'a> Seen<'a> {
    /// Adds `name`. Returns whether it was new.
    pub(super) fn is_new(&mut self, name: &'a [u8], seed: u64) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(name);
        }
        if self.few.contains(&name) {
            return false;
        }
        self.few.push(name);
        if self.few.len() == FEW {
            let mut many = HashSet::with_hasher(Xxh3Builder::new().with_seed(seed));
            many.extend(self.few.drain(..));
            self.many = Some(many);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once() {
        let names: Vec<String> = (0..100).map(|n| format!("name {n}")).collect();
        let mut seen = Seen::default();
        for (count, name) in names.iter().enumerate() {
            assert!(seen.is_new(name.as_bytes(), 7));
            assert!(names[..=count].iter().all(|name| !seen.is_new(name.as_bytes(), 7)));
        }
    }
}
