//! Parts of a key, written one behind the other and hashed at once: typed, so that the text `1` and the number 1 are two values.

use crate::base::{KeyedHash, Value};
use crate::decide::lang::Fact;

/// Keys up to this length need no allocation.
const SHORT: usize = 160;

/// The parts that were written so far.
pub(super) struct Parts<'a> {
    hash: &'a KeyedHash,
    short: [u8; SHORT],
    length: usize,
    /// Everything, once it is longer.
    long: Vec<u8>,
}

const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const OTHER: u8 = 3;
const ABSENT: u8 = 0xfe;
const END: u8 = 0xff;

impl<'a> Parts<'a> {
    pub(super) fn new(hash: &'a KeyedHash) -> Parts<'a> {
        Parts { hash, short: [0; SHORT], length: 0, long: Vec::new() }
    }

    /// False when there is nothing to add. Numbers by value, so that `1000` and `1000.0` are one key.
    pub(super) fn fact(&mut self, fact: Fact<'_>) -> bool {
        match fact {
            Fact::Absent | Fact::Unread | Fact::Null => return false,
            Fact::Text(text) => self.part(TEXT, text.as_bytes()),
            Fact::Number(number) => self.part(NUMBER, &(number + 0.0).to_bits().to_le_bytes()),
            Fact::Bool(flag) => self.part(OTHER, Value::Bool(flag).to_json().as_bytes()),
            Fact::Tree(value) => self.part(OTHER, value.to_json().as_bytes()),
        }
        true
    }

    pub(super) fn text(&mut self, text: &str) {
        self.part(TEXT, text.as_bytes());
    }

    /// A value of its own.
    pub(super) fn absent(&mut self) {
        self.write(&[ABSENT]);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn part(&mut self, kind: u8, content: &[u8]) {
        self.write(&[kind]);
        self.write(content);
        self.write(&[END]);
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            if let Some(room) = self.short.get_mut(self.length..self.length + bytes.len()) {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
                return;
            }
            self.long.extend_from_slice(&self.short[..self.length]);
        }
        self.long.extend_from_slice(bytes);
    }

    fn written(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.length] } else { &self.long }
    }

    pub(super) fn key(&self) -> u128 {
        self.hash.key(self.written())
    }

    pub(super) fn print(&self) -> u64 {
        self.hash.print(self.written())
    }
}
