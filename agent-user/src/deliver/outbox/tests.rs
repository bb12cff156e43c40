use std::path::PathBuf;

use super::*;
use crate::deliver::journal::Limits;
use crate::deliver::sink::{Fate, Parcel, Trouble, TroubleKind};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("agentward-outbox-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a receiver does with the delivery of that number.
type Answer = fn(u32, &[Parcel]) -> Result<Vec<Fate>, TroubleKind>;

struct Scripted {
    calls: u32,
    answer: Answer,
    got: Arc<Mutex<Vec<String>>>,
}

impl Sink for Scripted {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        self.calls += 1;
        let fates = (self.answer)(self.calls, batch).map_err(|kind| Trouble { kind, why: "scripted".into() })?;
        let mut got = self.got.lock().expect("the test does not panic in here");
        let taken = batch.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Delivered);
        got.extend(taken.map(|(parcel, _)| parcel.uid.clone()));
        Ok(fates)
    }
}

fn outlet(name: &str, answer: Answer, got: &Arc<Mutex<Vec<String>>>) -> Outlet {
    let sink = Box::new(Scripted { calls: 0, answer, got: got.clone() });
    Outlet { name: name.into(), codec: Codec::Native, filter: Filter::default(), batch: 16, everything: false, sink }
}

fn alert(number: u64) -> Entry {
    let json = format!("{{\"uid\":\"u{number}\",\"severity\":\"low\",\"rule\":{{\"id\":\"r\"}}}}");
    Entry { kind: EntryKind::Alert, time: number, uid: format!("u{number}"), revision: 0, json }
}

/// Sends `count` alerts through one scripted receiver, waits until each is delivered or dead, and gives what arrived.
fn run(name: &str, count: u64, answer: Answer) -> (Vec<String>, Arc<SinkCounters>, Folder) {
    let folder = Folder::new(name);
    let got = Arc::new(Mutex::new(Vec::new()));
    let journal = Journal::open(&folder.0, Limits::default()).expect("opens");
    let mut outbox = Outbox::start(journal, &folder.0, vec![outlet("sink", answer, &got)], None).expect("starts");
    for number in 0..count {
        outbox.send(alert(number));
    }
    let seen = outbox.sinks.counters[0].1.clone();
    while seen.delivered.load(Ordering::Relaxed) + seen.dead.load(Ordering::Relaxed) < count {
        std::thread::yield_now();
    }
    outbox.stop();
    assert_eq!(outbox.counters.dropped.load(Ordering::Relaxed), 0);
    let arrived = got.lock().expect("the sink has ended").clone();
    (arrived, seen, folder)
}

fn all(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("u{number}")).collect()
}

#[test]
fn a_flaky_receiver_gets_everything_in_order() {
    let (arrived, seen, _folder) = run("flaky", 100, |call, batch| match call % 4 {
        1 => Err(TroubleKind::Later(None)),
        _ => Ok(vec![Fate::Delivered; batch.len()]),
    });
    assert_eq!(arrived, all(100));
    assert!(seen.failures.load(Ordering::Relaxed) > 0);
}

/// Every third item of a batch is not taken at first: it comes again, and nothing is skipped.
#[test]
fn items_that_were_not_taken_come_again() {
    let (mut arrived, _, _folder) = run("items", 40, |_, batch| {
        let fate = |place: usize| if batch.len() > 1 && place % 3 == 2 { Fate::Later } else { Fate::Delivered };
        Ok((0..batch.len()).map(fate).collect())
    });
    arrived.sort_by_key(|uid| uid[1..].parse::<u64>().expect("a number"));
    assert_eq!(arrived, all(40));
}

/// A batch is refused whole for one bad record: the others arrive, the bad one is a dead letter.
#[test]
fn a_poisoned_record_is_buried_alone() {
    let (arrived, seen, folder) = run("poison", 20, |_, batch| {
        if batch.iter().any(|parcel| parcel.uid == "u7") {
            return Err(TroubleKind::Refused);
        }
        Ok(vec![Fate::Delivered; batch.len()])
    });
    let expected: Vec<String> = all(20).into_iter().filter(|uid| uid != "u7").collect();
    assert_eq!(arrived, expected);
    assert_eq!(seen.dead.load(Ordering::Relaxed), 1);
    let dead = std::fs::read_to_string(folder.0.join("sink.dead.jsonl")).expect("there are dead letters");
    assert!(dead.lines().count() == 1 && dead.contains("\"uid\":\"u7\"") && dead.contains("scripted"), "{dead}");
}

#[test]
fn what_was_not_acknowledged_comes_again_after_a_restart() {
    let folder = Folder::new("restart");
    let got = Arc::new(Mutex::new(Vec::new()));
    for round in 0..3_u64 {
        let journal = Journal::open(&folder.0, Limits::default()).expect("opens");
        // Down in the first two rounds.
        let down: Answer = |_, _| Err(TroubleKind::Later(None));
        let up: Answer = |_, batch| Ok(vec![Fate::Delivered; batch.len()]);
        let receiver = if round < 2 { down } else { up };
        let mut outbox = Outbox::start(journal, &folder.0, vec![outlet("sink", receiver, &got)], None).expect("starts");
        for number in 0..5 {
            outbox.send(alert(round * 5 + number));
        }
        outbox.stop();
    }
    assert_eq!(*got.lock().expect("the sinks have ended"), all(15));
}

/// A receiver that is down does not hold up another.
#[test]
fn sinks_do_not_wait_for_each_other() {
    let folder = Folder::new("apart");
    let (down, up) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let journal = Journal::open(&folder.0, Limits::default()).expect("opens");
    let outlets = vec![
        outlet("down", |_, _| Err(TroubleKind::Later(None)), &down),
        outlet("up", |_, batch| Ok(vec![Fate::Delivered; batch.len()]), &up),
    ];
    let mut outbox = Outbox::start(journal, &folder.0, outlets, None).expect("starts");
    (0..200).for_each(|number| outbox.send(alert(number)));
    while outbox.sinks.counters[1].1.delivered.load(Ordering::Relaxed) < 200 {
        std::thread::yield_now();
    }
    outbox.stop();
    assert_eq!(*up.lock().expect("the sink has ended"), all(200));
    assert!(down.lock().expect("the sink has ended").is_empty());
}

/// A sink whose position cannot be read is an error of the start, which must not wait for the sinks before it.
#[test]
fn a_start_that_fails_ends() {
    let folder = Folder::new("start");
    let got = Arc::new(Mutex::new(Vec::new()));
    let journal = Journal::open(&folder.0, Limits::default()).expect("opens");
    std::fs::create_dir(folder.0.join("bad.cursor")).expect("a folder stands where a file should");
    let up: Answer = |_, batch| Ok(vec![Fate::Delivered; batch.len()]);
    let outlets = vec![outlet("good", up, &got), outlet("bad", up, &got)];
    assert!(Outbox::start(journal, &folder.0, outlets, None).is_err());
}
