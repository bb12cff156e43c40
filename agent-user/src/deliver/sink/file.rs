//! Alerts as JSON lines in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Record, Sink};

/// Appends; reopens when somebody moved the file away (logrotate).
pub struct FileSink {
    path: PathBuf,
    file: File,
}

impl FileSink {
    pub fn open(path: &Path) -> io::Result<FileSink> {
        Ok(FileSink { path: path.to_owned(), file: open(path)? })
    }

    fn moved_away(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        Ok(std::fs::metadata(&self.path).map_or(true, |theirs| (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino())))
    }
}

/// Alerts name people and objects: only the owner and the group may read them.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

impl Sink for FileSink {
    fn deliver(&mut self, batch: &[Record]) -> io::Result<()> {
        if self.moved_away()? {
            self.file = open(&self.path)?;
        }
        let mut lines = String::new();
        for record in batch {
            lines.push_str(&record.entry.json);
            lines.push('\n');
        }
        self.file.write_all(lines.as_bytes())
    }
}
