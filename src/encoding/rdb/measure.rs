//! Where a value ends, without decoding it: strings are skipped, packed ones too.

use super::input::Input;
use super::{ModuleName, RdbError, VALKEY, types};

/// What a module's value is made of.
mod module {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

/// Length of the value of type `kind` with which `bytes` begins, behind the byte of its type.
///
/// # Errors
/// [`RdbError::Truncated`] if there must be more bytes; another if more bytes do not help.
pub fn measure(kind: u8, bytes: &[u8], version: u16) -> Result<usize, RdbError> {
    let mut input = Input::unlimited(bytes);
    skip(kind, &mut input, version)?;
    Ok(bytes.len() - input.left())
}

fn skip(kind: u8, input: &mut Input<'_>, version: u16) -> Result<(), RdbError> {
    match kind {
        types::STRING
        | types::HASH_ZIPMAP
        | types::LIST_ZIPLIST
        | types::SET_INTSET
        | types::ZSET_ZIPLIST
        | types::HASH_ZIPLIST
        | types::HASH_LISTPACK
        | types::ZSET_LISTPACK
        | types::SET_LISTPACK
        | types::HASH_LISTPACK_EX_PRE_GA => input.skip_string(),
        types::LIST | types::SET | types::LIST_QUICKLIST => each(input, Input::skip_string),
        types::ZSET => each(input, |input| {
            input.skip_string()?;
            match input.byte()? {
                253.. => Ok(()),
                length => input.take(length.into()).map(drop),
            }
        }),
        types::HASH => each(input, skip_pair),
        types::ZSET_2 => each(input, |input| {
            input.skip_string()?;
            input.take(8).map(drop)
        }),
        types::LIST_QUICKLIST_2 => each(input, |input| {
            input.number()?;
            input.skip_string()
        }),
        types::HASH_2 if version == VALKEY => each(input, |input| {
            skip_pair(input)?;
            input.take(8).map(drop)
        }),
        types::HASH_2 | types::HASH_METADATA => {
            if kind == types::HASH_METADATA {
                input.take(8)?;
            }
            each(input, |input| {
                input.number()?;
                skip_pair(input)
            })
        }
        types::HASH_LISTPACK_EX => {
            input.take(8)?;
            input.skip_string()
        }
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => skip_stream(kind, input),
        types::MODULE_2 => {
            input.number()?;
            skip_module(input)
        }
        _ => Err(RdbError::UnknownType(kind)),
    }
}

/// Skips as many elements as the number that stands first.
fn each<'a>(input: &mut Input<'a>, skip: impl Fn(&mut Input<'a>) -> Result<(), RdbError>) -> Result<(), RdbError> {
    for _ in 0..input.number()? {
        skip(input)?;
    }
    Ok(())
}

fn skip_pair(input: &mut Input<'_>) -> Result<(), RdbError> {
    input.skip_string()?;
    input.skip_string()
}

fn skip_stream(kind: u8, input: &mut Input<'_>) -> Result<(), RdbError> {
    let is_first = kind == types::STREAM_LISTPACKS;
    let numbers = |input: &mut Input<'_>, count| (0..count).try_for_each(|_| input.number().map(drop));
    each(input, skip_pair)?;
    numbers(input, if is_first { 3 } else { 8 })?;
    each(input, |input| {
        input.skip_string()?;
        numbers(input, if is_first { 2 } else { 3 })?;
        each(input, |input| {
            input.take(24)?;
            input.number().map(drop)
        })?;
        each(input, |input| {
            input.skip_string()?;
            input.take(if kind == types::STREAM_LISTPACKS_3 { 16 } else { 8 })?;
            each(input, |input| input.take(16).map(drop))
        })
    })
}

/// Skips the content of a module's value, or of what a module stores beside the keys.
pub(super) fn skip_module(input: &mut Input<'_>) -> Result<(), RdbError> {
    loop {
        match input.number()? {
            module::END => return Ok(()),
            module::SIGNED | module::UNSIGNED => drop(input.number()?),
            module::FLOAT => drop(input.take(4)?),
            module::DOUBLE => drop(input.take(8)?),
            module::STRING => input.skip_string()?,
            _ => return Err(RdbError::Malformed("an unknown part of a module's value")),
        }
    }
}

/// The module whose value begins with these bytes.
pub(super) fn module_name(bytes: &[u8]) -> Result<ModuleName, RdbError> {
    Input::unlimited(bytes).number().map(ModuleName)
}
