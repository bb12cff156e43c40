//! rustls keeps one object a direction. Here both become one connection, by the socket that their bytes travel over.
//!
//! In: kernel events. Out: the same, those of halves under the name of their connection, with offsets that go on where the half before them
//! ended. A half of unknown socket waits: the send that names it follows its bytes at once.

use std::collections::HashMap;

use crate::base::Direction;
use crate::capture::ring::{Event, Object, What};

/// Halves known at once. A process that makes keys without end has its oldest ones begin anew.
const HALVES: usize = 65_536;

/// Bytes of one half that wait for its socket. A program that encrypts and never sends keeps this much; then its bytes go out without a peer.
const WAITING: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Halves {
    halves: HashMap<(u32, Object), Half>,
    /// Connections by process and descriptor, until that is closed.
    sockets: HashMap<(u32, i32), Joined>,
}

enum Half {
    Waiting { events: Vec<Event>, bytes: usize },
    Known { fd: i32, joined: Object, base: u64 },
}

/// A connection and how far its directions are.
struct Joined {
    object: Object,
    out: u64,
    inward: u64,
}

/// The kernel side marks directions in the low bits of an address; every other object is aligned, or a descriptor.
fn is_half(object: Object) -> bool {
    object.address & 3 != 0 && object.address >> 33 != 0
}

/// Something else that happened then and there.
fn beside(event: &Event, what: What) -> Event {
    Event { time: event.time, tgid: event.tgid, tid: event.tid, what }
}

impl Halves {
    pub(super) fn take(&mut self, event: Event, out: &mut Vec<Event>) {
        let pid = event.tgid;
        match &event.what {
            What::Chunk { object, fd, .. } if is_half(*object) => {
                let (object, fd) = (*object, *fd);
                if self.known(pid, object).is_none() && fd >= 0 {
                    self.meet(pid, object, fd, &event, out);
                }
                if self.known(pid, object).is_some() { self.rename(event, object, out) } else { self.wait(event, object, out) }
            }
            What::Lost { object, .. } if is_half(*object) => {
                let object = *object;
                if self.known(pid, object).is_some() { self.rename(event, object, out) } else { self.wait(event, object, out) }
            }
            What::Bind { object, fd } if is_half(*object) => {
                let (object, fd) = (*object, *fd);
                if self.known(pid, object).is_none() {
                    self.meet(pid, object, fd, &event, out);
                }
            }
            What::FdClosed { fd, .. } => {
                let fd = *fd;
                if let Some(joined) = self.sockets.remove(&(pid, fd)) {
                    self.halves.retain(|(owner, _), half| {
                        *owner != pid || !matches!(half, Half::Known { joined: other, .. } if *other == joined.object)
                    });
                    out.push(beside(&event, What::Close(joined.object)));
                }
                out.push(event);
            }
            What::Exit => {
                self.leave(pid, out);
                out.push(event);
            }
            _ => out.push(event),
        }
    }

    /// Whatever still waits goes out without a peer.
    pub(super) fn leave(&mut self, pid: u32, out: &mut Vec<Event>) {
        self.sockets.retain(|(owner, _), _| *owner != pid);
        let mut gone: Vec<Object> = self.halves.keys().filter(|(owner, _)| *owner == pid).map(|(_, object)| *object).collect();
        gone.sort_unstable();
        for object in gone {
            if let Some(Half::Waiting { events, .. }) = self.halves.remove(&(pid, object)) {
                out.extend(events);
            }
        }
    }

    fn known(&self, pid: u32, object: Object) -> Option<(i32, Object, u64)> {
        match self.halves.get(&(pid, object))? {
            Half::Known { fd, joined, base } => Some((*fd, *joined, *base)),
            Half::Waiting { .. } => None,
        }
    }

    /// The half's socket is known now: it joins the connection there, or begins it.
    fn meet(&mut self, pid: u32, object: Object, fd: i32, event: &Event, out: &mut Vec<Event>) {
        if self.halves.len() >= HALVES {
            self.halves.clear();
            self.sockets.clear();
        }
        let name = Object { address: object.address & !3, generation: object.generation };
        let joined = self.sockets.entry((pid, fd)).or_insert(Joined { object: name, out: 0, inward: 0 });
        let direction_end = if object.address & 1 == 1 { joined.out } else { joined.inward };
        let connection = joined.object;
        let waiting = self.halves.insert((pid, object), Half::Known { fd, joined: connection, base: direction_end });
        out.push(beside(event, What::Bind { object: connection, fd }));
        if let Some(Half::Waiting { events, .. }) = waiting {
            for event in events {
                self.rename(event, object, out);
            }
        }
    }

    fn rename(&mut self, mut event: Event, half: Object, out: &mut Vec<Event>) {
        let Some((socket, joined, base)) = self.known(event.tgid, half) else { return };
        let (end, direction) = match &mut event.what {
            What::Chunk { object, offset, fd, data, dir, .. } => {
                *object = joined;
                *fd = socket;
                *offset += base;
                (*offset + data.len() as u64, *dir)
            }
            What::Lost { object, bytes, dir, .. } => {
                *object = joined;
                (*bytes, *dir)
            }
            _ => return,
        };
        if let Some(connection) = self.sockets.get_mut(&(event.tgid, socket)) {
            let reached = if direction == Direction::Out { &mut connection.out } else { &mut connection.inward };
            *reached = if matches!(event.what, What::Lost { .. }) { *reached + end } else { (*reached).max(end) };
        }
        out.push(event);
    }

    fn wait(&mut self, event: Event, object: Object, out: &mut Vec<Event>) {
        let pid = event.tgid;
        let half = self.halves.entry((pid, object)).or_insert(Half::Waiting { events: Vec::new(), bytes: 0 });
        let Half::Waiting { events, bytes } = half else { return };
        *bytes += match &event.what {
            What::Chunk { data, .. } => data.len() + 128,
            _ => 128,
        };
        let full = *bytes > WAITING;
        let like = beside(&event, What::Exit);
        events.push(event);
        if full {
            self.meet(pid, object, -1, &like, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capture::Source;

    const IN: Object = Object { address: 0x7000_0000_0002, generation: 5 };
    const OUT: Object = Object { address: 0x7000_0001_0001, generation: 6 };

    fn event(what: What) -> Event {
        Event { time: 1, tgid: 10, tid: 10, what }
    }

    fn chunk(object: Object, offset: u64, fd: i32, text: &'static str) -> Event {
        let dir = if object.address & 1 == 1 { Direction::Out } else { Direction::In };
        let data = Bytes::from_static(text.as_bytes());
        event(What::Chunk { object, dir, offset, fd, source: Source::Rustls, server: false, data })
    }

    /// Connection, direction, offset and text of each chunk that comes out, in order.
    fn check(events: Vec<Event>, expected: &[(u64, Direction, u64, &str)]) {
        let (mut halves, mut out) = (Halves::default(), Vec::new());
        for event in events {
            halves.take(event, &mut out);
        }
        let seen: Vec<(u64, Direction, u64, String)> = out
            .into_iter()
            .filter_map(|event| match event.what {
                What::Chunk { object, dir, offset, data, .. } => {
                    Some((object.address, dir, offset, String::from_utf8_lossy(&data).into_owned()))
                }
                _ => None,
            })
            .collect();
        let expected: Vec<(u64, Direction, u64, String)> =
            expected.iter().map(|(object, dir, offset, text)| (*object, *dir, *offset, (*text).to_owned())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn two_halves_of_one_socket_are_one_connection() {
        let bind = event(What::Bind { object: OUT, fd: 7 });
        let name = OUT.address & !3;
        check(
            vec![chunk(OUT, 0, -1, "GET /"), chunk(OUT, 5, -1, " HTTP"), bind, chunk(IN, 0, 7, "200"), chunk(OUT, 10, 7, "/1.1")],
            &[
                (name, Direction::Out, 0, "GET /"),
                (name, Direction::Out, 5, " HTTP"),
                (name, Direction::In, 0, "200"),
                (name, Direction::Out, 10, "/1.1"),
            ],
        );
    }

    #[test]
    fn a_new_key_goes_on_where_the_old_one_ended() {
        let renewed = Object { generation: 9, ..IN };
        let name = IN.address & !3;
        check(
            vec![chunk(IN, 0, 7, "abc"), chunk(renewed, 0, 7, "def")],
            &[(name, Direction::In, 0, "abc"), (name, Direction::In, 3, "def")],
        );
    }

    #[test]
    fn a_closed_socket_ends_the_connection() {
        let other = Object { address: 0x7000_0003_0002, generation: 8 };
        check(
            vec![chunk(IN, 0, 7, "abc"), event(What::FdClosed { fd: 7, asked: 0, answered: 0 }), chunk(other, 0, 7, "def")],
            &[(IN.address & !3, Direction::In, 0, "abc"), (other.address & !3, Direction::In, 0, "def")],
        );
    }

    #[test]
    fn what_is_never_sent_comes_out_at_the_end_and_at_the_bound() {
        check(vec![chunk(OUT, 0, -1, "abc"), event(What::Exit)], &[(OUT.address, Direction::Out, 0, "abc")]);
        let mut halves = Halves::default();
        let mut out = Vec::new();
        let long: &'static str = "x".repeat(64 << 10).leak();
        let mut sent = 0;
        while out.is_empty() {
            halves.take(chunk(OUT, sent, -1, long), &mut out);
            sent += long.len() as u64;
        }
        assert!(sent as usize <= WAITING + long.len(), "{sent}");
    }

    #[test]
    fn others_pass() {
        let plain = Object { address: 7, generation: 1 };
        let openssl = Object { address: 0x5555_0000_1000, generation: 1 };
        check(
            vec![chunk(openssl, 0, 3, "a"), chunk(plain, 0, 7, "b")],
            &[(openssl.address, Direction::In, 0, "a"), (7, Direction::Out, 0, "b")],
        );
    }
}
