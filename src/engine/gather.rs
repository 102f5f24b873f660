//! Replies that several cores give in parts, until all parts are there. They are put together on the core of the
//! client.

use slab::Slab;

use super::mail::{Origin, Part};
use super::merge::{Merge, merge};
use crate::encoding::resp::Protocol;
use crate::ids::Caller;

/// Replies of this core's clients that are gathered from several cores.
#[derive(Debug, Default)]
pub(super) struct Gatherings(Slab<Gathering>);

/// One reply, with the parts that have come.
#[derive(Debug)]
struct Gathering {
    caller: Caller,
    how: Merge,
    protocol: Protocol,
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
}

impl Gatherings {
    /// A reply of `parts` parts begins; returns its number.
    pub(super) fn begin(&mut self, caller: Caller, how: Merge, parts: usize, protocol: Protocol) -> u32 {
        self.0.insert(Gathering { caller, how, protocol, parts: vec![None; parts], missing: parts }) as u32
    }

    /// Where a part of reply `gathering` belongs.
    pub(super) fn origin(&self, gathering: u32, index: usize) -> Option<Origin> {
        let caller = self.0.get(gathering as usize)?.caller;
        Some(Origin { caller, part: Some(Part { gathering, index: index as u16 }) })
    }

    /// Takes in a part. Returns the reply if it was the last one.
    pub(super) fn put(&mut self, caller: Caller, part: Part, bytes: &[u8]) -> Option<Vec<u8>> {
        let key = part.gathering as usize;
        let gathering = self.0.get_mut(key).filter(|gathering| gathering.caller == caller)?;
        let place = gathering.parts.get_mut(usize::from(part.index)).filter(|place| place.is_none())?;
        *place = Some(bytes.to_vec());
        gathering.missing -= 1;
        if gathering.missing > 0 {
            return None;
        }
        let Gathering { how, protocol, parts, .. } = self.0.remove(key);
        let parts: Vec<Vec<u8>> = parts.into_iter().flatten().collect();
        let mut reply = Vec::new();
        merge(&how, &parts, protocol, &mut reply);
        Some(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RequestId;

    #[test]
    fn a_reply_is_complete_with_its_last_part_and_each_part_counts_once() {
        let mut gatherings = Gatherings::default();
        let caller = Caller { connection: 1, client: 2, request: RequestId(3) };
        let gathering = gatherings.begin(caller, Merge::Sum, 3, Protocol::Resp2);
        let mut put = |caller, index, bytes: &[u8]| gatherings.put(caller, Part { gathering, index }, bytes);
        assert_eq!(put(caller, 2, b":3\r\n"), None);
        assert_eq!(put(caller, 2, b":3\r\n"), None);
        assert_eq!(put(caller, 3, b":9\r\n"), None, "there is no such part");
        assert_eq!(put(Caller { client: 9, ..caller }, 0, b":9\r\n"), None, "it is another client's");
        assert_eq!(put(caller, 0, b":1\r\n"), None);
        assert_eq!(put(caller, 1, b":2\r\n").unwrap(), b":6\r\n");
        assert_eq!(put(caller, 1, b":2\r\n"), None);
    }
}
