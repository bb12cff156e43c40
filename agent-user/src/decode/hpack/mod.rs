//! HPACK (RFC 7541): header blocks of one direction of one connection become fields.
//!
//! In: whole blocks, in order. Out: fields in order, each octet certain; what refers to a table entry from before the first
//! byte that was seen is `None`, never a guess. An error means that the two ends can no longer agree either: the state is
//! forgotten, and what is sent from then on is right again.
//!
//! It does not judge names and values; that is the reader's of HTTP/2.

mod huffman;
mod table;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use crate::base::limits::{HEAD_BYTES, HEAD_FIELDS};
use crate::decode::Name;

use table::{NoEntry, Table};

/// A field line; `None` is what cannot be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Option<Name>,
    pub(crate) value: Option<Bytes>,
}

impl Field {
    pub(crate) const UNKNOWN: Field = Field { name: None, value: None };
}

/// What else a block said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Fields handed on, and the octets of their names and values.
    fields: usize,
    bytes: usize,
    /// More than [`HEAD_FIELDS`] fields; the rest changed the table and is not handed on.
    pub(crate) too_many: bool,
    /// More than [`HEAD_BYTES`] octets; the rest changed the table and is not handed on.
    pub(crate) too_large: bool,
    /// The encoder's table holds more than we keep; later references to the rest are unknown.
    pub(crate) table_over_limit: bool,
    /// Dynamic table size updates in this block; RFC 7541 section 4.2 knows a need for two.
    pub(crate) size_updates: usize,
}

impl Summary {
    /// Whether the next field is within the bounds.
    #[inline]
    fn admits(&mut self, field: &Field) -> bool {
        let size = field.name.as_ref().map_or(0, |name| name.len()) + field.value.as_ref().map_or(0, Bytes::len);
        if self.fields == HEAD_FIELDS {
            self.too_many = true;
        } else if self.too_large || self.bytes + size > HEAD_BYTES {
            self.too_large = true;
        } else {
            self.bytes += size;
            self.fields += 1;
            return true;
        }
        false
    }
}

/// Why a block cannot be read (RFC 7541): both ends' states differ now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The block ends inside a field.
    Cut,
    /// An integer beyond any sensible size.
    Integer,
    Huffman,
    /// Index 0, or one past the table's end.
    Index,
    /// A size update behind the first field.
    LateSizeUpdate,
}

pub(crate) struct Decoder {
    table: Table,
    scratch: Vec<u8>,
    /// Values that go to the table share pieces of memory with their neighbours. What goes elsewhere has pieces of its own: so
    /// the table holds no more than its entries and what stood beside the oldest.
    indexed: BytesMut,
    passing: BytesMut,
}

/// Memory for several values at once.
const ARENA: usize = 1 << 10;

impl Decoder {
    /// For a connection seen from its first byte.
    pub(crate) fn new() -> Decoder {
        Decoder::with(Table::empty())
    }

    /// For a connection whose earlier blocks were not seen.
    pub(crate) fn attached() -> Decoder {
        Decoder::with(Table::unknown())
    }

    fn with(table: Table) -> Decoder {
        Decoder { table, scratch: Vec::new(), indexed: BytesMut::new(), passing: BytesMut::new() }
    }

    /// Blocks were missed: nothing that stands in the table is certain any more.
    pub(crate) fn forget(&mut self) {
        self.table = Table::unknown();
    }

    /// Hands the fields of a block to `sink`, in order. After an error they mean nothing.
    pub(crate) fn decode(&mut self, block: &[u8], mut sink: impl FnMut(&Field)) -> Result<Summary, Malformed> {
        let mut summary = Summary::default();
        let read = self.read(block, &mut summary, &mut sink);
        summary.table_over_limit = self.table.take_over_limit();
        if read.is_err() {
            self.forget();
        }
        read.map(|()| summary)
    }

    fn read(&mut self, block: &[u8], summary: &mut Summary, sink: &mut impl FnMut(&Field)) -> Result<(), Malformed> {
        let mut input = Input { rest: block };
        let mut begun = false;
        let mut hand_on = |field: &Field| {
            if summary.admits(field) {
                sink(field);
            }
        };
        let mut size_updates = 0;
        while let Some(&first) = input.rest.first() {
            if first & 0x80 != 0 {
                let index = input.integer(7)?;
                hand_on(self.table.get(index)?);
            } else if first & 0x40 != 0 {
                let (field, octets) = self.literal(&mut input, 6, true)?;
                hand_on(&field);
                self.table.insert(field, octets);
            } else if first & 0x20 != 0 {
                if begun {
                    return Err(Malformed::LateSizeUpdate);
                }
                let size = input.integer(5)?;
                self.table.resize(size);
                size_updates += 1;
                continue;
            } else {
                // Without indexing, or never indexed: the same to a reader.
                let (field, _) = self.literal(&mut input, 4, false)?;
                hand_on(&field);
            }
            begun = true;
        }
        summary.size_updates = size_updates;
        Ok(())
    }

    /// A literal field (RFC 7541 section 6.2) and its octets as the table counts them.
    fn literal(&mut self, input: &mut Input<'_>, prefix: u32, indexed: bool) -> Result<(Field, usize), Malformed> {
        let index = input.integer(prefix)?;
        let (name, octets) = if index == 0 {
            let raw = input.string(&mut self.scratch)?;
            (Some(name_text(raw)), raw.len())
        } else {
            let name = self.table.get(index)?.name.clone();
            let octets = name.as_ref().map_or(0, |name| name.len());
            (name, octets)
        };
        let value = input.string(&mut self.scratch)?;
        let octets = octets + value.len();
        let value = keep(value, if indexed { &mut self.indexed } else { &mut self.passing });
        Ok((Field { name, value: Some(value) }, octets))
    }
}

fn keep(value: &[u8], arena: &mut BytesMut) -> Bytes {
    if arena.capacity() < value.len() {
        *arena = BytesMut::with_capacity(value.len().max(ARENA));
    }
    arena.extend_from_slice(value);
    arena.split().freeze()
}

impl From<NoEntry> for Malformed {
    fn from(NoEntry: NoEntry) -> Malformed {
        Malformed::Index
    }
}

/// Names are ASCII; each octet of one that is not becomes the character of the same number, so that nothing is lost.
fn name_text(raw: &[u8]) -> Name {
    match std::str::from_utf8(raw) {
        Ok(text) => Name::literal(text),
        Err(_) => raw.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// RFC 7541 section 5.1. Six octets are more than any index, size or length here needs.
    fn integer(&mut self, prefix: u32) -> Result<usize, Malformed> {
        let (&first, mut rest) = self.rest.split_first().ok_or(Malformed::Cut)?;
        let mask = (1usize << prefix) - 1;
        let mut value = usize::from(first) & mask;
        if value == mask {
            let mut shift = 0;
            loop {
                let (&byte, after) = rest.split_first().ok_or(Malformed::Cut)?;
                rest = after;
                value += usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
                if shift > 28 {
                    return Err(Malformed::Integer);
                }
            }
        }
        self.rest = rest;
        Ok(value)
    }

    /// RFC 7541 section 5.2. A coded string is written to `scratch`.
    fn string<'b>(&mut self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], Malformed>
    where
        'a: 'b,
    {
        let coded = *self.rest.first().ok_or(Malformed::Cut)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (raw, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.rest = rest;
        if !coded {
            return Ok(raw);
        }
        let made = huffman::decode(raw, scratch).map_err(|huffman::Invalid| Malformed::Huffman)?;
        Ok(&scratch[..made])
    }
}

/// A block's fields as a list.
#[cfg(any(test, feature = "fuzz"))]
fn list(decoder: &mut Decoder, block: &[u8]) -> Result<(Vec<Field>, Summary), Malformed> {
    let mut fields = Vec::new();
    let summary = decoder.decode(block, |field| fields.push(field.clone()))?;
    Ok((fields, summary))
}

/// Fuzz door: any blocks, seen from the start and from the middle; what the second reports must be what the first does.
#[cfg(any(test, feature = "fuzz"))]
pub fn fuzz(data: &[u8]) {
    let mut whole = Decoder::new();
    let mut late = Decoder::attached();
    for (number, block) in data.split(|&byte| byte == 0xff).enumerate() {
        let seen = list(&mut whole, block);
        if number == 0 {
            continue;
        }
        if let (Ok((whole, _)), Ok((late, _))) = (&seen, &list(&mut late, block)) {
            assert_part_of(late, whole);
        }
        if seen.is_err() {
            return;
        }
    }
}

/// Each field that `part` knows stands in `whole` at the same place.
#[cfg(any(test, feature = "fuzz"))]
fn assert_part_of(part: &[Field], whole: &[Field]) {
    for (part, whole) in part.iter().zip(whole) {
        // The bound on the table can make the whole view forget what the late one, with less to keep, still holds.
        assert!(part.name.is_none() || whole.name.is_none() || part.name == whole.name, "a name was guessed");
        assert!(part.value.is_none() || whole.value.is_none() || part.value == whole.value, "a value was guessed");
    }
}
