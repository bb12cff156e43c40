//! Where fields lie in this kernel's structures: its BTF, read as far as the probes need.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: byte offsets of fields. The format is that of the kernel's
//! `Documentation/bpf/btf.rst`; kinds that may appear are those of `include/uapi/linux/btf.h` up to Linux 7.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// The types of a BTF blob by number, and structures by name.
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type starts; number 0 is `void` and has no bytes.
    starts: Vec<usize>,
    structures: HashMap<&'a [u8], Vec<u32>>,
}

/// The fixed part of a type.
struct Head {
    name: u32,
    kind: u32,
    members: usize,
    /// Member offsets hold a bit-field size in their upper byte.
    packed: bool,
}

impl<'a> Btf<'a> {
    /// `None` when the bytes are no BTF of this machine's byte order, or hold a kind of unknown length.
    pub(super) fn read(data: &'a [u8]) -> Option<Btf<'a>> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = number(data, 4)? as usize;
        let section = |at: usize| {
            let start = header.checked_add(number(data, at)? as usize)?;
            data.get(start..start.checked_add(number(data, at + 4)? as usize)?)
        };
        let mut btf = Btf { types: section(8)?, strings: section(16)?, starts: vec![0], structures: HashMap::new() };
        let mut at = 0;
        while at < btf.types.len() {
            let head = btf.head(at)?;
            let id = u32::try_from(btf.starts.len()).ok()?;
            btf.starts.push(at);
            if head.kind == STRUCT {
                btf.structures.entry(btf.name(head.name)?).or_default().push(id);
            }
            at += 12 + tail(&head)?;
        }
        Some(btf)
    }

    /// Byte offset of a field; members of unnamed structures and unions inside count as the structure's own.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let found = self.structures.get(structure.as_bytes())?;
        found.iter().find_map(|id| self.member(*id, field.as_bytes(), 0)).map(|bits| bits / 8)
    }

    /// Bit offset of a member. `depth` bounds what a hostile blob could nest.
    fn member(&self, id: u32, field: &[u8], depth: u32) -> Option<u32> {
        const NESTING: u32 = 8;
        let start = *self.starts.get(id as usize).filter(|_| id != 0)?;
        let head = self.head(start)?;
        if !matches!(head.kind, STRUCT | UNION) {
            return None;
        }
        (0..head.members).find_map(|index| {
            let at = start + 12 + index * 12;
            let offset = number(self.types, at + 8)?;
            let offset = if head.packed { offset & 0x00ff_ffff } else { offset };
            match self.name(number(self.types, at)?)? {
                b"" if depth < NESTING => Some(offset + self.member(number(self.types, at + 4)?, field, depth + 1)?),
                name => (name == field).then_some(offset),
            }
        })
    }

    fn head(&self, at: usize) -> Option<Head> {
        let info = number(self.types, at + 4)?;
        Some(Head {
            name: number(self.types, at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            packed: info >> 31 != 0,
        })
    }

    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(offset as usize..)?;
        rest.split(|byte| *byte == 0).next()
    }
}

/// Bytes behind the fixed part.
fn tail(head: &Head) -> Option<usize> {
    Some(match head.kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        STRUCT | UNION | 15 | 19 => head.members * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => head.members * 8,
        _ => return None,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; union { int c; int d; }; }; int e : 3; }`
    fn blob() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0d\0e\0";
        let at = |name: &str| {
            let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
            strings.windows(wanted.len()).position(|window| window == wanted).expect("a name of the blob") as u32 + 1
        };
        let mut types: Vec<u32> = vec![at("int"), 1 << 24, 4, 32];
        types.extend([0, UNION << 24 | 2, 4, at("c"), 1, 0, at("d"), 1, 0]);
        types.extend([0, STRUCT << 24 | 2, 8, at("b"), 1, 0, 0, 2, 32]);
        types.extend([at("outer"), 1 << 31 | STRUCT << 24 | 3, 16, at("a"), 1, 0, 0, 3, 32, at("e"), 1, 3 << 24 | 96]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut blob = Vec::new();
        blob.extend(MAGIC.to_ne_bytes());
        blob.extend([1, 0]);
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(types);
        blob.extend(strings);
        blob
    }

    #[test]
    fn fields_of_unnamed_members_count_as_the_structures_own() {
        let blob = blob();
        let btf = Btf::read(&blob).expect("whole");
        for (field, offset) in [("a", Some(0)), ("b", Some(4)), ("c", Some(8)), ("d", Some(8)), ("e", Some(12)), ("f", None)] {
            assert_eq!(btf.offset("outer", field), offset, "{field}");
        }
        assert_eq!(btf.offset("int", "a"), None);
    }

    #[test]
    fn a_blob_that_is_cut_is_refused_or_lacks_fields() {
        let blob = blob();
        for end in 0..blob.len() {
            if let Some(btf) = Btf::read(&blob[..end]) {
                assert_eq!(btf.offset("outer", "a"), None, "cut at {end}");
            }
        }
    }

    #[test]
    fn this_kernel_has_what_the_probes_need() {
        let Ok(blob) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let btf = Btf::read(&blob).expect("the kernel's own");
        assert!(btf.offset("task_struct", "files").is_some_and(|offset| offset > 0));
        assert!(btf.offset("file", "f_inode").is_some());
    }
}
