//! The journal against a model: any order of appends, syncs, disk faults, crashes and reopenings. After each, what was durable is
//! there, in order, and nothing else is taken for a record.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::fault::{FAULTS, Kind, plan};
use super::{Cursor, Journal, Limits, Read, Sequence, segment};

const LIMITS: Limits = Limits { segment: 256, total: 1 << 30, reserve: 0, age: None };

/// Numbers that look random and repeat (SplitMix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

struct Model {
    folder: PathBuf,
    journal: Option<Journal>,
    dice: Dice,
    /// Payloads that a sync has confirmed, by their place.
    durable: Vec<Vec<u8>>,
    /// Appended since.
    open: Vec<Vec<u8>>,
    faults: u32,
    stamp: u64,
}

impl Model {
    fn new(seed: u64) -> Model {
        let folder = std::env::temp_dir().join(format!("agentward-model-{seed}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let journal = Some(Journal::open(&folder, LIMITS).expect("opens an empty folder"));
        Model { folder, journal, dice: Dice(seed), durable: Vec::new(), open: Vec::new(), faults: 0, stamp: 0 }
    }

    /// A group as the writer commits it: all of it confirmed, or all of it taken back.
    fn group(&mut self) {
        let fault = self.dice.roll(4) != 0;
        if fault {
            let point = FAULTS[self.dice.roll(FAULTS.len() as u64) as usize];
            let kind = if self.dice.roll(2) == 0 { Kind::Full } else { Kind::Broken };
            plan(Some((point, kind, self.dice.roll(40) as usize)));
        }
        let journal = self.journal.as_mut().expect("open between steps");
        let start = journal.next();
        let mut written = Ok(());
        for _ in 0..=self.dice.roll(4) {
            self.stamp += 1;
            let payload = format!("{}{}", self.stamp, "x".repeat(self.dice.roll(60) as usize)).into_bytes();
            self.open.push(payload.clone());
            written = journal.append(&payload).map(|_| ());
            if written.is_err() {
                break;
            }
        }
        let done = written.and_then(|()| journal.sync());
        let left = plan(None);
        self.faults += u32::from(fault && left.is_none());
        match done {
            Ok(()) => self.durable.append(&mut self.open),
            Err(_) => {
                journal.take_back();
                // A turn of segments inside the group made its first records durable: they stay, and come again later.
                let kept = (journal.next().0 - start.0) as usize;
                self.durable.extend(self.open.drain(..).take(kept));
                self.open.clear();
            }
        }
    }

    /// The power goes: behind what was synced stands anything, from nothing to garbage.
    fn crash(&mut self) {
        let journal = self.journal.as_mut().expect("open between steps");
        for number in 0..self.dice.roll(3) {
            // Never confirmed; a crash may keep any part of it.
            journal.append(format!("lost {number}").as_bytes()).expect("no fault is planned");
        }
        let synced = journal.current.synced();
        self.journal = None;
        let last = *segment::list(&self.folder).expect("lists").last().expect("there is one");
        let path = segment::path(&self.folder, last);
        let length = fs::metadata(&path).expect("is there").len();
        let kept = synced + self.dice.roll(length.saturating_sub(synced) + 1);
        let mut file = OpenOptions::new().write(true).open(&path).expect("opens");
        file.set_len(kept).expect("cuts");
        if self.dice.roll(3) == 0 {
            use std::io::{Seek, SeekFrom};
            file.seek(SeekFrom::End(0)).expect("seeks");
            file.write_all(&[0xa5; 13]).expect("writes");
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.journal = None;
        let journal = Journal::open(&self.folder, LIMITS).expect("opens after anything");
        let more = journal.next().0 as usize;
        assert!(more >= self.durable.len(), "{} of {} durable records are left", more, self.durable.len());
        // Records that were never confirmed may have survived whole.
        let found = read(&self.folder, journal.next());
        self.durable = found[..self.durable.len()]
            .iter()
            .zip(&self.durable)
            .map(|(found, kept)| {
                assert_eq!(found, kept);
                found.clone()
            })
            .chain(found[self.durable.len()..].iter().cloned())
            .collect();
        self.journal = Some(journal);
    }

    fn check(&self) {
        let next = self.journal.as_ref().expect("open between steps").next();
        assert_eq!(next.0 as usize, self.durable.len());
        assert_eq!(read(&self.folder, next), self.durable);
    }
}

/// What a sink that starts at the beginning sees of the durable part.
fn read(folder: &Path, until: Sequence) -> Vec<Vec<u8>> {
    let mut cursor = Cursor::open(folder, "model", Sequence(0)).expect("opens");
    let mut seen = Vec::new();
    while cursor.position() < until {
        match cursor.read().expect("reads") {
            Read::Record { payload, .. } => seen.push(payload),
            Read::Lost { from, count } => panic!("lost {count} from {from:?}"),
            Read::End => panic!("ends at {:?} before {until:?}", cursor.position()),
        }
    }
    seen
}

#[test]
fn what_was_confirmed_survives_faults_and_crashes() {
    let mut faults = 0;
    for seed in 0..30 {
        let mut model = Model::new(seed);
        for _ in 0..30 {
            match model.dice.roll(8) {
                0 => model.crash(),
                1 => model.reopen(),
                _ => model.group(),
            }
            model.check();
        }
        faults += model.faults;
        let _ = fs::remove_dir_all(&model.folder);
    }
    assert!(faults >= 200, "only {faults} faults were met");
}
