//! Field names and methods, each made once: connections repeat the same few dozen.
//!
//! In: names as sent. Out: shared names, fields in lower case. The table has a fixed size, so names made up by a stranger only push
//! each other out.

use std::sync::Arc;

use crate::decode::Name;

const SLOTS: usize = 512;

/// RFC 9110 section 9 and RFC 5789.
const METHODS: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];

pub(in crate::decode) struct Names {
    fields: Box<[Option<Field>]>,
    methods: [Arc<str>; METHODS.len()],
}

struct Field {
    sent: Box<[u8]>,
    name: Name,
}

impl Default for Names {
    fn default() -> Names {
        Names { fields: (0..SLOTS).map(|_| None).collect(), methods: METHODS.map(Arc::from) }
    }
}

impl Names {
    pub(super) fn field(&mut self, sent: &[u8]) -> Name {
        let entry = &mut self.fields[slot(sent)];
        match entry {
            Some(field) if *field.sent == *sent => field.name.clone(),
            _ => {
                let mut name = String::from_utf8_lossy(sent).into_owned();
                name.make_ascii_lowercase();
                let name = Name::new(&name);
                if sent.len() <= LONGEST {
                    *entry = Some(Field { sent: sent.into(), name: name.clone() });
                }
                name
            }
        }
    }

    pub(super) fn method(&self, method: &str) -> Arc<str> {
        self.methods.iter().find(|known| ***known == *method).cloned().unwrap_or_else(|| method.into())
    }
}

/// Longer names are not kept.
const LONGEST: usize = 64;

fn slot(sent: &[u8]) -> usize {
    let at = |position: usize| sent.get(position).map_or(0, |&byte| usize::from(byte));
    let mixed =
        at(0) * 31 + at(sent.len() / 2) * 17 + at(sent.len() / 3) * 7 + at(sent.len().saturating_sub(1)) * 3 + sent.len() * 41;
    mixed % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shared_and_bounded() {
        let mut names = Names::default();
        assert_eq!(&*names.field(b"Content-Type"), "content-type");
        assert!(std::ptr::eq(&*names.field(b"X-A"), &*names.field(b"X-A")));
        assert_eq!(&*names.field(b"CONTENT-TYPE"), "content-type");
        assert_eq!(&*names.field(b""), "");
        assert_eq!(&*names.field(b"x\xff"), "x\u{fffd}");
        for number in 0..10_000 {
            assert_eq!(*names.field(format!("X-{number}").as_bytes()), *format!("x-{number}"));
        }
        assert_eq!(names.fields.len(), SLOTS);
        assert_eq!((&*names.method("PATCH"), &*names.method("patch")), ("PATCH", "patch"));
    }
}
