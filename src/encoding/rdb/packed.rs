//! Several elements in one string: ziplist, zipmap and intset. For listpacks see `listpack`.
//!
//! | ziplist | |
//! |---|---|
//! | 4, 4, 2 | size of the ziplist, position of its last element, number of elements (65,535: unknown) |
//! | … | per element: size of the one before (1, or 254 and 4), what it is (1, 2 or 5), its bytes |
//! | 1 | 255 |
//!
//! | zipmap | |
//! |---|---|
//! | 1 | number of fields (254: unknown) |
//! | … | per field: length of its name (1, or 254 and 4), its name, length of its value, number of free bytes (1), its value, free bytes |
//! | 1 | 255 |
//!
//! | intset | |
//! |---|---|
//! | 4, 4 | size of an integer (2, 4 or 8), number of integers |
//! | … | the integers, ascending |

use super::RdbError;

/// Marks the end of a ziplist, zipmap or listpack.
pub(super) const END: u8 = 0xff;
/// Marks a length of four bytes in ziplists and zipmaps.
const LONG: u8 = 0xfe;

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'p> {
    Text(&'p [u8]),
    Integer(i64),
}

impl<'p> Item<'p> {
    /// The element as text; `digits` holds that of an integer.
    pub(super) fn text<'t>(self, digits: &'t mut itoa::Buffer) -> &'t [u8]
    where
        'p: 't,
    {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => digits.format(number).as_bytes(),
        }
    }

    /// The element as an integer; in a stream's listpack only integers stand for integers.
    pub(super) fn integer(self) -> Result<i64, RdbError> {
        match self {
            Self::Integer(number) => Ok(number),
            Self::Text(_) => Err(RdbError::Malformed("a text in the place of an integer")),
        }
    }
}

const CUT: RdbError = RdbError::Malformed("a packed value is cut short");

/// Takes the first `count` bytes of a packed value.
pub(super) fn take<'p>(rest: &mut &'p [u8], count: usize) -> Result<&'p [u8], RdbError> {
    let (taken, after) = rest.split_at_checked(count).ok_or(CUT)?;
    *rest = after;
    Ok(taken)
}

/// Takes the first bytes of a packed value.
pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], RdbError> {
    let (taken, after) = rest.split_first_chunk().ok_or(CUT)?;
    *rest = after;
    Ok(*taken)
}

/// A signed integer of three bytes.
pub(super) fn integer_24(rest: &mut &[u8]) -> Result<i64, RdbError> {
    let [a, b, c] = array(rest)?;
    Ok((i32::from_le_bytes([0, a, b, c]) >> 8).into())
}

/// The elements of a ziplist.
pub(super) struct Ziplist<'p> {
    rest: &'p [u8],
    /// Number of elements that must still come, if it is known.
    count: Option<u16>,
    /// Size of the element before.
    before: u32,
}

impl<'p> Ziplist<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Result<Self, RdbError> {
        let rest = &mut { bytes };
        let size = u32::from_le_bytes(array(rest)?);
        let _last = u32::from_le_bytes(array(rest)?);
        let count = u16::from_le_bytes(array(rest)?);
        if size as usize != bytes.len() {
            return Err(RdbError::Malformed("a ziplist of another size"));
        }
        Ok(Self { rest, count: (count != u16::MAX).then_some(count), before: 0 })
    }

    fn item(&mut self) -> Result<Option<Item<'p>>, RdbError> {
        let [first] = array(&mut self.rest)?;
        if first == END {
            return if self.rest.is_empty() && self.count.is_none_or(|count| count == 0) {
                Ok(None)
            } else {
                Err(RdbError::Malformed("a ziplist with another number of elements"))
            };
        }
        let before = if first == LONG { u32::from_le_bytes(array(&mut self.rest)?) } else { first.into() };
        if before != self.before {
            return Err(RdbError::Malformed("a ziplist whose sizes contradict each other"));
        }
        let left = self.rest.len();
        let [kind] = array(&mut self.rest)?;
        let rest = &mut self.rest;
        let item = match (kind >> 6, kind) {
            (0b00, _) => Item::Text(take(rest, kind.into())?),
            (0b01, _) => {
                let [low] = array(rest)?;
                Item::Text(take(rest, u16::from_be_bytes([kind & 0x3f, low]).into())?)
            }
            (0b10, _) => {
                let length = u32::from_be_bytes(array(rest)?);
                Item::Text(take(rest, length as usize)?)
            }
            (_, 0xc0) => Item::Integer(i16::from_le_bytes(array(rest)?).into()),
            (_, 0xd0) => Item::Integer(i32::from_le_bytes(array(rest)?).into()),
            (_, 0xe0) => Item::Integer(i64::from_le_bytes(array(rest)?)),
            (_, 0xf0) => Item::Integer(integer_24(rest)?),
            (_, 0xfe) => Item::Integer(i8::from_le_bytes(array(rest)?).into()),
            (_, 0xf1..=0xfd) => Item::Integer(i64::from(kind & 0x0f) - 1),
            _ => return Err(RdbError::Malformed("an unknown element of a ziplist")),
        };
        let width = if first == LONG { 5 } else { 1 };
        self.before = (width + left - self.rest.len()) as u32;
        if let Some(count) = &mut self.count {
            *count = count.checked_sub(1).ok_or(RdbError::Malformed("a ziplist with another number of elements"))?;
        }
        Ok(Some(item))
    }
}

impl<'p> Iterator for Ziplist<'p> {
    type Item = Result<Item<'p>, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item().transpose()
    }
}

/// The names and values of a zipmap, in turn.
pub(super) struct Zipmap<'p> {
    rest: &'p [u8],
    is_value: bool,
}

impl<'p> Zipmap<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Result<Self, RdbError> {
        let rest = &mut { bytes };
        let [_count] = array(rest)?;
        Ok(Self { rest, is_value: false })
    }

    fn item(&mut self) -> Result<Option<Item<'p>>, RdbError> {
        let rest = &mut self.rest;
        let [first] = array(rest)?;
        if first == END {
            return if rest.is_empty() && !self.is_value {
                Ok(None)
            } else {
                Err(RdbError::Malformed("a zipmap that ends elsewhere"))
            };
        }
        let length = if first == LONG { u32::from_le_bytes(array(rest)?) } else { first.into() };
        let free = if self.is_value { array(rest).map(|[free]| free)? } else { 0 };
        let text = take(rest, length as usize)?;
        take(rest, free.into())?;
        self.is_value = !self.is_value;
        Ok(Some(Item::Text(text)))
    }
}

impl<'p> Iterator for Zipmap<'p> {
    type Item = Result<Item<'p>, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item().transpose()
    }
}

/// The integers of an intset.
pub(super) fn intset(bytes: &[u8]) -> Result<impl Iterator<Item = i64>, RdbError> {
    let rest = &mut { bytes };
    let (width, count) = (u32::from_le_bytes(array(rest)?), u32::from_le_bytes(array(rest)?));
    if !matches!(width, 2 | 4 | 8) || u64::from(width) * u64::from(count) != rest.len() as u64 {
        return Err(RdbError::Malformed("an intset of another size"));
    }
    let integer = move |bytes: &[u8]| {
        // The highest byte has the sign.
        let mut wide = [if bytes[bytes.len() - 1] < 0x80 { 0 } else { 0xff }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    };
    Ok(rest.chunks_exact(width as usize).map(integer))
}
