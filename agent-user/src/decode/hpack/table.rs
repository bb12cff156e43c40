//! The static and the dynamic table (RFC 7541 sections 2.3 and 4), the latter also when only its newest part was seen.
//!
//! In: entries as the encoder inserts them, size updates, indices. Out: the entry an index means, `Unknown` when it is from
//! before the first byte that was seen, or an error where no encoder may point.
//!
//! Why positions are certain in the middle of a connection: the table is first in, first out, so index `61 + n` is the n-th
//! newest insertion or nothing at all. An entry too large for the table empties it; then the indices that our arithmetic would
//! shift point past the end for the encoder too. Whether an entry that we saw still stands depends only on the sizes of the
//! newer ones, never on those we did not see.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;

use crate::base::limits::HPACK_TABLE_BYTES;
use crate::decode::Name;

use super::Field;

/// RFC 7541 section 4.1: what an entry counts beyond its octets.
const ENTRY_OVERHEAD: usize = 32;

/// RFC 9113 section 6.5.2: the size until a size update says otherwise.
const DEFAULT_SIZE: usize = 4096;

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

static STATIC_FIELDS: LazyLock<[Field; 61]> = LazyLock::new(|| {
    STATIC.map(|(name, value)| Field { name: Some(Name::usual(name)), value: Some(Bytes::from_static(value.as_bytes())) })
});

static UNKNOWN: Field = Field::UNKNOWN;

/// The index points where no entry can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoEntry;

/// Room for what one head inserts.
const FIRST_ENTRIES: usize = 16;

struct Entry {
    field: Field,
    /// As the encoder counts it.
    size: usize,
}

pub(crate) struct Table {
    fixed: &'static [Field; 61],
    /// Newest first. What the encoder inserted since we look, as far as it still stands.
    entries: VecDeque<Entry>,
    /// Sizes of `entries`.
    bytes: usize,
    /// The encoder's limit; `None` until a size update was seen on a connection whose beginning was not.
    max: Option<usize>,
    /// Entries that we do not hold may stand behind ours.
    older: bool,
    /// The encoder filled more than we keep.
    over_limit: bool,
}

impl Table {
    /// At the start of a connection: empty, and known to be.
    pub(crate) fn empty() -> Table {
        Table {
            fixed: &STATIC_FIELDS,
            entries: VecDeque::new(),
            bytes: 0,
            max: Some(DEFAULT_SIZE),
            older: false,
            over_limit: false,
        }
    }

    /// In the middle of a connection: anything may stand in it.
    pub(crate) fn unknown() -> Table {
        Table { max: None, older: true, ..Table::empty() }
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Result<&Field, NoEntry> {
        let Some(position) = index.checked_sub(self.fixed.len() + 1) else {
            return index.checked_sub(1).map(|position| &self.fixed[position]).ok_or(NoEntry);
        };
        match self.entries.get(position) {
            Some(entry) => Ok(&entry.field),
            None if position - self.entries.len() < self.older_at_most() => Ok(&UNKNOWN),
            None => Err(NoEntry),
        }
    }

    /// RFC 7541 section 4.4.
    ///
    /// `octets` is what is certain of the entry's size: a name that is unknown counts nothing. That keeps entries longer than the
    /// encoder does, never shorter, and an encoder does not point at what it evicted.
    pub(crate) fn insert(&mut self, field: Field, octets: usize) {
        let size = octets + ENTRY_OVERHEAD;
        if self.max.is_some_and(|max| size > max) {
            self.evict_to(0);
            return;
        }
        // An entry we would not keep leaves its place, so that the positions of the others stay right.
        let (field, size) = if size > HPACK_TABLE_BYTES { (Field::UNKNOWN, size) } else { (field, size) };
        if self.entries.capacity() == 0 {
            self.entries.reserve(FIRST_ENTRIES);
        }
        self.entries.push_front(Entry { field, size });
        self.bytes += size;
        if let Some(max) = self.max {
            self.evict_to(max);
        }
        self.keep_bound();
    }

    /// RFC 7541 section 4.3.
    pub(crate) fn resize(&mut self, max: usize) {
        self.max = Some(max);
        self.evict_to(max);
    }

    /// Whether entries were given up since the last call because the encoder's table is larger than ours.
    pub(crate) fn take_over_limit(&mut self) -> bool {
        std::mem::take(&mut self.over_limit)
    }

    fn evict_to(&mut self, max: usize) {
        while self.bytes > max {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.size;
            // What was older than an evicted entry is gone as well.
            self.older = false;
        }
        if max - self.bytes < ENTRY_OVERHEAD {
            self.older = false;
        }
    }

    /// Forgets the oldest entries of a table that is larger than anyone needs.
    fn keep_bound(&mut self) {
        while self.bytes > HPACK_TABLE_BYTES && self.entries.len() > 1 {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.size;
            self.older = true;
            self.over_limit |= self.max.is_some();
        }
    }

    /// How many entries can stand behind ours.
    fn older_at_most(&self) -> usize {
        match (self.older, self.max) {
            (false, _) => 0,
            (true, Some(max)) => max.saturating_sub(self.bytes) / ENTRY_OVERHEAD,
            (true, None) => usize::MAX,
        }
    }
}
