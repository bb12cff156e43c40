//! Dead letters: what a receiver refused for good, with its reason, in a file beside the journal.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::limits::DEAD_LETTER_BYTES;
use crate::deliver::sink::Parcel;

pub(super) struct DeadLetters(PathBuf);

impl DeadLetters {
    pub(super) fn new(folder: &Path, sink: &str) -> DeadLetters {
        DeadLetters(folder.join(format!("{sink}.dead.jsonl")))
    }

    /// Past the bound the older half makes room.
    pub(super) fn put(&self, parcel: &Parcel, reason: &str) -> io::Result<()> {
        let line = serde_json::json!({
            "uid": parcel.uid,
            "sequence": parcel.sequence.0,
            "reason": reason,
            "record": parcel.text,
        });
        if std::fs::metadata(&self.0).is_ok_and(|state| state.len() > DEAD_LETTER_BYTES / 2) {
            std::fs::rename(&self.0, self.0.with_extension("jsonl.1"))?;
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.0)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    }
}
