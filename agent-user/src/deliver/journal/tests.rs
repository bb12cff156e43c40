use super::*;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("agentward-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SMALL: Limits = Limits { segment: 64, total: 192, reserve: 0, age: None };

fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

fn written(folder: &Folder, limits: Limits, count: u64) -> Journal {
    let mut journal = Journal::open(&folder.0, limits).expect("opens");
    for number in 0..count {
        assert_eq!(journal.append(&record(number)).expect("appends"), Sequence(number));
    }
    journal.sync().expect("syncs");
    journal
}

fn drain(cursor: &mut Cursor) -> (Vec<u64>, u64) {
    let (mut seen, mut lost) = (Vec::new(), 0);
    loop {
        match cursor.read().expect("reads") {
            Read::Record { sequence, payload } => {
                assert_eq!(payload, record(sequence.0));
                seen.push(sequence.0);
            }
            Read::Lost { count, .. } => lost += count,
            Read::End => return (seen, lost),
        }
    }
}

#[test]
fn what_is_written_is_read_across_segments() {
    let folder = Folder::new("read");
    let roomy = Limits { segment: 64, total: 1 << 20, reserve: 0, age: None };
    let mut journal = written(&folder, roomy, 20);
    let mut cursor = Cursor::open(&folder.0, "sink", Sequence(0)).expect("opens");
    assert_eq!(drain(&mut cursor), ((0..20).collect(), 0));
    journal.append(&record(20)).expect("appends");
    assert_eq!(drain(&mut cursor), (vec![20], 0));
    cursor.rewind();
    assert_eq!(drain(&mut cursor).0.len(), 21);
}

#[test]
fn the_position_moves_only_on_acknowledgement() {
    let folder = Folder::new("ack");
    let _journal = written(&folder, Limits::default(), 5);
    let mut cursor = Cursor::open(&folder.0, "sink", Sequence(0)).expect("opens");
    drain(&mut cursor);
    cursor.acknowledge(Sequence(2)).expect("acknowledges");
    let mut again = Cursor::open(&folder.0, "sink", Sequence(0)).expect("opens");
    assert_eq!(drain(&mut again), (vec![3, 4], 0));
    let mut other = Cursor::open(&folder.0, "other", Sequence(0)).expect("opens");
    assert_eq!(drain(&mut other).0.len(), 5);
}

#[test]
fn retention_says_what_a_slow_sink_lost() {
    let folder = Folder::new("retention");
    let _journal = written(&folder, SMALL, 40);
    let mut cursor = Cursor::open(&folder.0, "sink", Sequence(0)).expect("opens");
    let (seen, lost) = drain(&mut cursor);
    assert!(lost > 0 && !seen.is_empty());
    assert_eq!(lost + seen.len() as u64, 40);
    assert_eq!(seen.last(), Some(&39));
}

/// Cut the last segment at every byte, or damage any byte of it: every record before the damage is still there.
#[test]
fn a_torn_or_damaged_tail_costs_only_itself() {
    let folder = Folder::new("torn");
    drop(written(&folder, Limits::default(), 3));
    let file = segment::path(&folder.0, Sequence(0));
    let whole = fs::read(&file).expect("reads");
    let frame = whole.len() / 3;
    for at in 0..whole.len() {
        for damaged in [whole[..at].to_vec(), {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            bytes
        }] {
            fs::write(&file, &damaged).expect("writes");
            let mut journal = Journal::open(&folder.0, Limits::default()).expect("opens");
            let intact = (at / frame) as u64;
            assert_eq!(journal.next(), Sequence(intact), "byte {at}");
            journal.append(&record(intact)).expect("appends");
            let mut cursor = Cursor::open(&folder.0, "sink", Sequence(0)).expect("opens");
            assert_eq!(drain(&mut cursor), ((0..=intact).collect(), 0), "byte {at}");
        }
    }
}

#[test]
fn a_second_daemon_is_kept_out() {
    let folder = Folder::new("lock");
    let _journal = written(&folder, SMALL, 1);
    assert_eq!(Journal::open(&folder.0, SMALL).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
}
