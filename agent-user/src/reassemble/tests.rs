use super::*;
use crate::base::limits::OUT_OF_ORDER_BYTES;

const PID: u32 = 7;

fn at(ts: u64, what: Seen) -> Observation {
    Observation { ts: Timestamp(ts), what }
}

fn chunk(pid: u32, conn: &str, dir: Direction, off: Option<u64>, data: &[u8]) -> Chunk {
    Chunk {
        pid,
        tid: None,
        conn: ConnId(conn.into()),
        dir,
        off,
        data: Sensitive::new(Bytes::copy_from_slice(data)),
        source: Source::Openssl,
        sni: None,
        peer: None,
        local: None,
        role: None,
    }
}

/// `off:text` of one direction of one connection, `:text` without an offset.
fn piece(text: &str) -> Seen {
    let (off, data) = text.split_once(':').expect("written off:text");
    Seen::Chunk(chunk(PID, "c", Direction::Out, off.parse().ok(), data.as_bytes()))
}

fn loss(conn: Option<&str>, pid: Option<u32>, bytes: Option<u64>) -> Seen {
    Seen::Loss(Loss {
        cause: LossCause::RingFull,
        count: 1,
        pid,
        conn: conn.map(|conn| ConnId(conn.into())),
        dir: Some(Direction::Out),
        bytes,
    })
}

fn run(observations: impl IntoIterator<Item = Observation>) -> Vec<StreamEvent> {
    let (mut stage, mut out) = (Reassemble::default(), Vec::new());
    for observation in observations {
        stage.tick(observation.ts, &mut out);
        stage.push(observation, &mut out);
    }
    stage.finish(Timestamp(u64::MAX), &mut out);
    out
}

/// Events as words: `text`, `[missing cause]`, `close`; facts are left out, neighbouring text is joined.
fn shown(events: &[StreamEvent]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for event in events {
        let (word, is_text) = match event {
            StreamEvent::Data { bytes, .. } => (String::from_utf8_lossy(bytes.expose_content()).into_owned(), true),
            StreamEvent::Gap { missing, cause, .. } => {
                let missing = missing.map_or("?".to_owned(), |missing| missing.to_string());
                (format!("[{missing} {}]", cause.name()), false)
            }
            StreamEvent::Closed { evicted, .. } => (if *evicted { "evicted" } else { "close" }.to_owned(), false),
            StreamEvent::Fact { .. } => continue,
        };
        match words.last_mut() {
            Some(last) if open && is_text => last.push_str(&word),
            _ => words.push(word),
        }
        open = is_text;
    }
    words.join(" ")
}

fn check(pieces: &[&str], expected: &str) {
    let observations = pieces.iter().enumerate().map(|(position, text)| at(position as u64, piece(text)));
    assert_eq!(shown(&run(observations)), expected, "{pieces:?}");
}

#[test]
fn order_overlap_and_holes() {
    check(&["0:ab", "2:cd"], "abcd");
    check(&[":ab", ":cd"], "abcd");
    check(&["0:ab", ":cd", "4:ef"], "abcdef");
    check(&["2:cd", "0:ab"], "abcd");
    check(&["4:ef", "2:cd", "0:ab"], "abcdef");
    check(&["0:abcd", "2:cdef"], "abcdef");
    check(&["0:abcd", "1:bc"], "abcd");
    check(&["0:ab", "0:ab", "2:cd"], "abcd");
    check(&["4:ef", "2:cdefgh", "0:ab"], "abcdefgh");
    check(&["2:c", "2:cde", "0:ab"], "abcde");
    check(&["0:ab", "5:fg"], "ab [3 unknown] fg");
    check(&["3:de"], "[3 unknown] de");
    check(&["0:a", "2:c", "4:e"], "a [1 unknown] c [1 unknown] e");
    check(&["0:ab", "18446744073709551615:cd", "2:ef"], "abef");
}

#[test]
fn every_order_of_the_same_chunks_gives_the_same_bytes() {
    let text = "the quick brown fox";
    for cut in 1..text.len() {
        for second in cut..text.len() {
            let parts = [(0, &text[..cut]), (cut, &text[cut..second]), (second, &text[second..])];
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let pieces: Vec<String> = order.iter().map(|&index| format!("{}:{}", parts[index].0, parts[index].1)).collect();
                check(&pieces.iter().map(String::as_str).collect::<Vec<_>>(), text);
            }
        }
    }
}

#[test]
fn loss_records_name_the_cause_of_a_hole() {
    let cases: [(Vec<Seen>, &str); 8] = [
        (vec![piece("0:ab"), loss(Some("c"), Some(PID), Some(2)), piece("4:ef")], "ab [2 ring_full] ef"),
        (vec![piece("0:ab"), piece("4:ef"), loss(Some("c"), Some(PID), Some(2))], "ab [2 ring_full] ef"),
        (vec![piece("0:ab"), loss(Some("c"), None, None), piece("4:ef")], "ab [2 ring_full] ef"),
        (vec![piece("0:ab"), loss(None, Some(PID), None), piece("4:ef")], "ab [2 ring_full] ef"),
        (vec![piece("0:ab"), loss(None, None, None), piece("4:ef")], "ab [2 ring_full] ef"),
        (vec![piece("0:ab"), loss(None, Some(9), None), piece("4:ef")], "ab [2 unknown] ef"),
        // Without offsets a hole is where its record stands.
        (vec![piece(":ab"), loss(Some("c"), Some(PID), Some(2)), piece(":ef")], "ab [2 ring_full] ef"),
        // The loss was at the end: only the close shows it.
        (vec![piece("0:ab"), loss(Some("c"), Some(PID), Some(2))], "ab [2 ring_full]"),
    ];
    for (seen, expected) in cases {
        let observations = seen.into_iter().enumerate().map(|(position, what)| at(position as u64, what));
        assert_eq!(shown(&run(observations)), expected);
    }
}

#[test]
fn a_hole_is_waited_for_only_so_long() {
    let late = OVERTAKE.as_nanos() as u64 + 1;
    let observations = [at(0, piece("0:ab")), at(1, piece("4:ef")), at(late + 1, piece("2:cd")), at(late + 2, piece("6:gh"))];
    assert_eq!(shown(&run(observations)), "ab [2 unknown] efgh");
}

#[test]
fn a_hole_is_not_waited_for_beyond_the_next_turn() {
    let part = |dir, off, text: &str| at(0, Seen::Chunk(chunk(PID, "c", dir, Some(off), text.as_bytes())));
    let (out, into) = (Direction::Out, Direction::In);
    // Late within its turn, or filled before the next: no hole.
    assert_eq!(shown(&run([part(out, 2, "c"), part(into, 0, "A"), part(out, 0, "ab"), part(into, 1, "B")])), "abcAB");
    // The second request comes: the first is handed on with its hole, before both answers.
    let events = run([part(out, 0, "a"), part(out, 2, "c"), part(into, 0, "A"), part(out, 3, "d"), part(into, 1, "B")]);
    assert_eq!(shown(&events), "a [1 unknown] cAdB");
    // What was held back has a hole of its own.
    let events = run([part(out, 1, "b"), part(into, 0, "A"), part(into, 2, "C"), part(out, 2, "c"), part(into, 3, "D")]);
    assert_eq!(shown(&events), "[1 unknown] bA [1 unknown] CcD");
}

#[test]
fn waiting_bytes_at_the_bound() {
    let filler = vec![b'x'; OUT_OF_ORDER_BYTES - 64];
    let ahead = |off, data: &[u8]| at(0, Seen::Chunk(chunk(PID, "c", Direction::Out, Some(off), data)));
    let mut stage = Reassemble::default();
    let mut out = Vec::new();
    stage.push(ahead(1, &filler), &mut out);
    assert_eq!(out, [], "exactly at the bound it waits");
    stage.push(ahead(1 + filler.len() as u64, b"y"), &mut out);
    assert!(matches!(out[0], StreamEvent::Gap { missing: Some(1), .. }));
    assert_eq!(stage.waiting_cost, 0);
}

#[test]
fn the_longest_idle_flow_is_evicted_at_the_bound() {
    let mut stage = Reassemble::default();
    let mut out = Vec::new();
    let mut push = |ts: u64, conn: usize| {
        out.clear();
        let seen = Seen::Chunk(chunk(PID, &format!("c{conn}"), Direction::Out, None, b"x"));
        stage.push(at(ts, seen), &mut out);
        out.iter()
            .filter_map(|event| match event {
                StreamEvent::Closed { flow, evicted: true, .. } => Some(flow.conn.0.to_string()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    for conn in 0..FLOWS {
        assert_eq!(push(conn as u64, conn), [""; 0]);
    }
    assert_eq!(push(FLOWS as u64, 0), [""; 0], "used again");
    assert_eq!(push(FLOWS as u64 + 1, FLOWS), ["c1"]);
    assert_eq!(push(FLOWS as u64 + 2, FLOWS + 1), ["c2"]);
}

fn flows(events: &[StreamEvent]) -> Vec<(u64, ProcessKey)> {
    events
        .iter()
        .filter_map(|event| match event {
            StreamEvent::Data { flow, .. } => Some((flow.id.0, flow.process)),
            _ => None,
        })
        .collect()
}

fn exec(pid: u32, start: Option<u64>) -> Seen {
    Seen::Exec(crate::capture::Exec { pid, start, ..Default::default() })
}

#[test]
fn a_pid_used_again_is_another_process() {
    let events = run([
        at(100, exec(PID, Some(90))),
        at(101, piece(":a")),
        at(102, exec(PID, Some(90))),
        at(103, piece(":b")),
        at(104, Seen::Exit { pid: PID, code: Some(0) }),
        at(105, Seen::Fork { pid: PID, ppid: 1 }),
        at(106, piece(":c")),
        at(200_000_000, exec(PID, Some(105))),
        at(200_000_001, piece(":d")),
        at(900_000_000, exec(PID, Some(800_000_000))),
        at(900_000_001, piece(":e")),
    ]);
    let key = |start| ProcessKey { pid: PID, start };
    assert_eq!(flows(&events), [(1, key(90)), (1, key(90)), (2, key(105)), (2, key(105)), (3, key(800_000_000))]);
    assert_eq!(shown(&events), "ab close cde", "an exit closes the flows of its process");
}

#[test]
fn addresses_come_before_or_after_the_bytes() {
    let socket = |op, fd, peer: Option<&str>, conn: Option<&str>| {
        Seen::Socket(Socket {
            pid: PID,
            fd,
            op,
            local: None,
            peer: peer.map(Into::into),
            conn: conn.map(|conn| ConnId(conn.into())),
        })
    };
    let cases: [(Vec<Seen>, Option<&str>, Option<Role>); 5] = [
        (vec![piece(":a")], None, None),
        (
            vec![socket(SocketOp::Connect, Some(3), Some("1.2.3.4:443"), Some("c")), piece(":a")],
            Some("1.2.3.4:443"),
            Some(Role::Client),
        ),
        (
            vec![piece(":a"), socket(SocketOp::Accept, None, Some("[::1]:9"), Some("c")), piece(":b")],
            Some("[::1]:9"),
            Some(Role::Server),
        ),
        (
            vec![
                socket(SocketOp::Connect, Some(3), Some("1.2.3.4:443"), None),
                socket(SocketOp::Connect, Some(3), None, Some("c")),
                piece(":a"),
            ],
            Some("1.2.3.4:443"),
            Some(Role::Client),
        ),
        // The descriptor was closed in between: its number says nothing any more.
        (
            vec![
                socket(SocketOp::Connect, Some(3), Some("1.2.3.4:443"), None),
                socket(SocketOp::Close, Some(3), None, None),
                socket(SocketOp::Connect, Some(3), None, Some("c")),
                piece(":a"),
            ],
            None,
            Some(Role::Client),
        ),
    ];
    for (seen, peer, role) in cases {
        let events = run(seen.into_iter().enumerate().map(|(position, what)| at(position as u64, what)));
        let last = events.iter().rev().find_map(|event| match event {
            StreamEvent::Data { flow, .. } => Some(flow.clone()),
            _ => None,
        });
        let last = last.expect("each case has data");
        assert_eq!((last.peer.as_deref(), last.role), (peer, role));
    }
    let closed = [socket(SocketOp::Connect, Some(3), None, Some("c")), piece(":a"), socket(SocketOp::Close, Some(3), None, None)];
    let events = run(closed.into_iter().enumerate().map(|(position, what)| at(position as u64, what)));
    assert_eq!(shown(&events), "a close", "closing the descriptor closes its connection");
}

#[test]
fn a_name_used_again_after_close_is_another_flow() {
    let close = || Seen::Close { pid: PID, conn: ConnId("c".into()) };
    let events = run([at(0, piece(":a")), at(1, close()), at(2, close()), at(3, piece(":b"))]);
    assert_eq!(flows(&events).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(shown(&events), "a close b");
}
