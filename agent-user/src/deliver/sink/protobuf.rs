//! The few lines of protobuf writing that OTLP needs: fields are appended, messages are nested by length.

/// A message under construction.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

impl Message {
    pub(super) fn varint(mut self, field: u64, value: u64) -> Message {
        self.number(field << 3 | VARINT);
        self.number(value);
        self
    }

    pub(super) fn fixed64(mut self, field: u64, value: u64) -> Message {
        self.number(field << 3 | FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Message {
        self.number(field << 3 | BYTES);
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn text(self, field: u64, value: &str) -> Message {
        self.bytes(field, value.as_bytes())
    }

    pub(super) fn message(self, field: u64, value: Message) -> Message {
        let value = value.done();
        self.bytes(field, &value)
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Numbers of a message's own varint fields; `None` when it is no protobuf.
pub(super) fn varint_field(mut message: &[u8], wanted: u64) -> Option<u64> {
    let mut found = 0;
    while !message.is_empty() {
        let key = read(&mut message)?;
        match key & 7 {
            VARINT => {
                let value = read(&mut message)?;
                if key >> 3 == wanted {
                    found = value;
                }
            }
            FIXED64 => message = message.get(8..)?,
            BYTES => {
                let length = usize::try_from(read(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

/// The content of a nested message or text; empty when it is not there, `None` when this is no protobuf.
pub(super) fn bytes_field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    let mut found: &[u8] = &[];
    while !message.is_empty() {
        let key = read(&mut message)?;
        match key & 7 {
            VARINT => {
                read(&mut message)?;
            }
            FIXED64 => message = message.get(8..)?,
            BYTES => {
                let length = usize::try_from(read(&mut message)?).ok()?;
                let content = message.get(..length)?;
                message = &message[length..];
                if key >> 3 == wanted {
                    found = content;
                }
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn read(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Message::default().varint(1, 300).text(2, "reason").done();
        let outer = Message::default().fixed64(4, 7).bytes(1, &inner).done();
        assert_eq!(bytes_field(&outer, 1), Some(&inner[..]));
        assert_eq!((varint_field(&inner, 1), bytes_field(&inner, 2)), (Some(300), Some(&b"reason"[..])));
        assert_eq!((varint_field(&outer, 9), bytes_field(&[], 1)), (Some(0), Some(&[][..])));
        for cut in 1..outer.len() {
            // Any prefix is read or refused, never past its end.
            let _ = (varint_field(&outer[..cut], 4), bytes_field(&outer[..cut], 1));
        }
        assert_eq!(bytes_field(&[0x0a, 0x7f], 1), None);
    }
}
