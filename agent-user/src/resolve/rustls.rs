//! rustls 0.23 with any provider: record ciphers are trait objects, and the last method of an encrypter's table only adds a constant.
//!
//! ```text
//! encrypter:  drop  size  align  encrypt  encrypted_payload_len
//! decrypter:  drop  size  align  decrypt                          0x38 bytes below
//! ```

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use super::image::Image;
use super::knowledge::Rustls;
use super::{Function, Refused, Role, function};

/// Leaf functions of one shape, and tables that hold one. A text of these bytes alone must not cost more.
const LEAVES: usize = 65_536;
const TABLES: usize = 64;

/// From the encrypter's table to the decrypter's.
const BELOW: u64 = 0x38;

/// Largest record cipher: keys and tables of one direction.
const SIZE: u64 = 4096;

pub(super) fn find(image: &Image<'_>, wanted: &Rustls) -> Result<Vec<Function>, Refused> {
    let mut leaves: BTreeMap<u64, usize> = BTreeMap::new();
    for (suite, overhead) in wanted.overhead.iter().enumerate() {
        for form in &overhead.leaf {
            for run in image.code() {
                for at in memmem::find_iter(run.bytes, form) {
                    leaves.insert(run.address + at as u64, suite);
                    if leaves.len() > LEAVES {
                        return Err(Refused::TooMany("functions of one shape"));
                    }
                }
            }
        }
    }
    if leaves.is_empty() {
        return Ok(Vec::new());
    }
    let mut slots: Vec<(u64, usize)> = Vec::new();
    image.pointers(|slot, value| {
        if let Some(suite) = leaves.get(&value)
            && slots.len() < LEAVES
        {
            slots.push((slot, *suite));
        }
    });
    // The words around each candidate, in one pass over the pointers.
    let around =
        |slot: u64| [slot.wrapping_sub(8), slot.wrapping_sub(32), slot.wrapping_sub(32 + BELOW), slot.wrapping_sub(8 + BELOW)];
    let interesting: BTreeSet<u64> = slots.iter().flat_map(|(slot, _)| around(*slot)).collect();
    let mut values: BTreeMap<u64, u64> = BTreeMap::new();
    image.pointers(|slot, value| {
        if interesting.contains(&slot) {
            values.insert(slot, value);
        }
    });
    let tables: Vec<(usize, Table)> =
        slots.iter().filter_map(|(slot, suite)| Some((*suite, Table::read(image, &values, *slot)?))).collect();
    // Only TLS 1.3 adds a byte for the content type: a table with that shape says that this is rustls, the others could be anything.
    if !tables.iter().any(|(suite, _)| *suite == 0) {
        return Ok(Vec::new());
    }
    if tables.len() > TABLES {
        return Err(Refused::TooMany("tables of record ciphers"));
    }
    let mut functions: Vec<Function> = Vec::new();
    for (suite, table) in tables {
        let name = &wanted.overhead[suite].suite;
        for (role, address) in [(Role::Encrypt, table.encrypt), (Role::Decrypt, table.decrypt)] {
            // Suites with one cipher type share a table.
            if functions.iter().all(|known| known.address != address) {
                functions.push(function(image, role, address, format!("method table of {name}"))?);
            }
        }
    }
    Ok(functions)
}

struct Table {
    encrypt: u64,
    decrypt: u64,
}

impl Table {
    /// `slot` holds `encrypted_payload_len`.
    fn read(image: &Image<'_>, values: &BTreeMap<u64, u64>, slot: u64) -> Option<Table> {
        let method = |slot: u64| values.get(&slot).copied().filter(|value| image.is_code(*value));
        let plain = |slot: u64| super::image::u64_at(image.bytes(slot, 8), 0);
        let head = |table: u64| {
            // A type without a destructor has zero there.
            let drops = method(table).is_some() || (!values.contains_key(&table) && plain(table) == Some(0));
            let (size, align) = (plain(table.wrapping_add(8))?, plain(table.wrapping_add(16))?);
            let fits = (1..=SIZE).contains(&size) && matches!(align, 8 | 16 | 32 | 64) && size.is_multiple_of(align);
            (drops && fits).then_some(())
        };
        let table = slot.checked_sub(32)?;
        let below = table.checked_sub(BELOW)?;
        head(table)?;
        head(below)?;
        Some(Table { encrypt: method(slot - 8)?, decrypt: method(below + 24)? })
    }
}
