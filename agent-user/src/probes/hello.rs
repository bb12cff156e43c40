//! The server's name in a ClientHello (RFC 8446, 4.1.2; RFC 6066, 3): all that an unread connection says of where it leads.

/// The name, from the first bytes of a connection; `None` where there is none, or the bytes end before it.
pub(super) fn server_name(record: &[u8]) -> Option<String> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let mut at = Bytes(record);
    let (HANDSHAKE, _) = (at.number(1)? as u8, at.take(4)?) else { return None };
    let (CLIENT_HELLO, _) = (at.number(1)? as u8, at.take(3)?) else { return None };
    // Version and random; session, cipher suites, compression methods.
    at.take(2 + 32)?;
    at.list(1)?;
    at.list(2)?;
    at.list(1)?;
    at.take(2)?;
    loop {
        let kind = at.number(2)?;
        let mut body = Bytes(at.list(2)?);
        if kind == 0 {
            // A list of names by type; 0 is a host name.
            body.take(2)?;
            let name = if body.number(1)? == 0 { body.list(2)? } else { return None };
            let plain = name.iter().all(|byte| byte.is_ascii_graphic());
            return (plain && name.len() <= 255).then(|| String::from_utf8_lossy(name).into_owned());
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    /// A big-endian number of at most two bytes.
    fn number(&mut self, bytes: usize) -> Option<u16> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    /// What follows a length of `bytes` bytes.
    fn list(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut record = vec![22, 3, 1, 0, 0, 1, 0, 0, 0];
        record.extend(body);
        record
    }

    #[test]
    fn the_name_is_found_behind_other_extensions() {
        let extensions = [&[0, 43, 0, 3, 2, 3, 4, 0, 0, 0, 11, 0, 9, 0, 0, 6][..], b"a.test"].concat();
        let record = hello(&extensions);
        assert_eq!(server_name(&record).as_deref(), Some("a.test"));
        for cut in 0..record.len() {
            assert_eq!(server_name(&record[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn no_name_and_no_hello_give_nothing() {
        assert_eq!(server_name(&hello(&[0, 43, 0, 1, 4])), None);
        assert_eq!(server_name(&hello(&[0, 0, 0, 6, 0, 4, 0, 0, 1, 0x1b])), None, "an escape is no name");
        assert_eq!(server_name(&[23, 3, 3, 0, 1, 0]), None);
    }
}
