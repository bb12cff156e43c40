//! Messages between the daemon's processes: a length in four bytes, little-endian, then MessagePack; descriptors travel beside the
//! length.
//!
//! The other end may have been taken over by what it reads: lengths are bounded, and what does not parse is an error.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, in bytes: the identities of all processes of a large host fit.
const MESSAGE_BYTES: usize = 16 << 20;

/// Most descriptors beside one message.
const DESCRIPTORS: usize = 16;

/// Sends one message whole. A descriptor arrives as a duplicate.
pub fn send<T: Serialize>(socket: &UnixStream, message: &T, beside: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut frame = vec![0; 4];
    rmp_serde::encode::write(&mut frame, message).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > MESSAGE_BYTES || beside.len() > DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    let mut sent = 0;
    if !beside.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(beside));
        sent = retry(|| sendmsg(socket, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL))?;
    }
    let mut socket = socket;
    socket.write_all(&frame[sent..])
}

/// The next message, waiting for it; its descriptors are added to `beside`. `None` when the other end is gone.
pub fn receive<T: DeserializeOwned>(socket: &UnixStream, beside: &mut Vec<OwnedFd>) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut got = 0;
    while got < length.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let more = retry(|| {
            let mut rest = [IoSliceMut::new(&mut length[got..])];
            recvmsg(socket, &mut rest, &mut control, RecvFlags::CMSG_CLOEXEC).map(|received| received.bytes)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                beside.extend(descriptors);
            }
        }
        match (more, got) {
            (0, 0) => return Ok(None),
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => got += more,
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut body = vec![0; length];
    let mut socket = socket;
    socket.read_exact(&mut body)?;
    rmp_serde::from_slice(&body).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_keep_their_order_and_their_descriptors() {
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        let file = File::open("/dev/null").expect("it is everywhere");
        send(&one, &"first", &[file.as_fd()]).expect("the other end is open");
        send(&one, &vec![7_u64; 3], &[]).expect("the other end is open");
        drop(one);
        let mut beside = Vec::new();
        assert_eq!(receive::<String>(&other, &mut beside).expect("whole"), Some("first".into()));
        assert_eq!(beside.len(), 1);
        assert_eq!(receive::<Vec<u64>>(&other, &mut beside).expect("whole"), Some(vec![7; 3]));
        assert_eq!(receive::<u64>(&other, &mut beside).expect("the end"), None);
    }

    #[test]
    fn what_a_taken_over_end_may_send_is_an_error() {
        let cases: [&[u8]; 4] = [&[0xff, 0xff, 0xff, 0xff, 1], &[1, 0], &[9, 0, 0, 0, 1], &[1, 0, 0, 0, 0xc1]];
        for bytes in cases {
            let (mut one, other) = UnixStream::pair().expect("a pair of sockets");
            one.write_all(bytes).expect("the other end is open");
            drop(one);
            assert!(receive::<u64>(&other, &mut Vec::new()).is_err(), "{bytes:?}");
        }
    }
}
