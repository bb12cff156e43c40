//! Alerts as lines in a file, or on standard output.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Fate, Parcel, Sink, Trouble, all_delivered, broker};

/// `alerts.jsonl` becomes `alerts.jsonl.1` at `bytes`, and so on up to `keep` old files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub bytes: u64,
    pub keep: u32,
}

/// Appends, and returns when the lines are on the disk; reopens when somebody moved the file away (logrotate).
pub struct FileSink {
    path: PathBuf,
    file: File,
    rotation: Option<Rotation>,
}

impl FileSink {
    pub fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<FileSink> {
        Ok(FileSink { path: path.to_owned(), file: open(path, None)?.ok_or(io::ErrorKind::NotFound)?, rotation })
    }

    /// Where somebody moved the file away.
    fn reopen(&mut self) -> io::Result<()> {
        if let Some(file) = open(&self.path, Some(&self.file))? {
            self.file = file;
        }
        Ok(())
    }

    fn rotate(&mut self, more: usize) -> io::Result<()> {
        let Some(Rotation { bytes, keep }) = self.rotation else { return Ok(()) };
        let length = self.file.metadata()?.len();
        if length == 0 || length + more as u64 <= bytes {
            return Ok(());
        }
        broker::rotate(&self.path, keep)?;
        self.reopen()
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        self.reopen()?;
        self.rotate(lines.len())?;
        // A write that failed half-way left a broken line behind; what follows must not continue it.
        let length = self.file.metadata()?.len();
        self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data()).inspect_err(|_| {
            if let Err(error) = self.file.set_len(length) {
                crate::deliver::outbox::tell(format_args!(
                    "{}: a half line stays after a failed write: {error}",
                    self.path.display()
                ));
            }
        })
    }
}

/// `None` when `have` is still the file. A line that a kill cut is ended, so that the next one, which is the same again, begins by itself.
fn open(path: &Path, have: Option<&File>) -> io::Result<Option<File>> {
    let Some(mut file) = broker::append(path, have)? else { return Ok(None) };
    let length = file.metadata()?.len();
    let mut last = *b"\n";
    if length > 0 && file.metadata()?.is_file() {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(Some(file))
}

impl Sink for FileSink {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let written = self.write(&lines(batch));
        written.map_err(|error| Trouble::later(format!("{}: {error}", self.path.display())))?;
        Ok(all_delivered(batch))
    }
}

pub struct Stdout;

impl Sink for Stdout {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let mut out = io::stdout().lock();
        out.write_all(lines(batch).as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Trouble::later(format!("standard output: {error}")))?;
        Ok(all_delivered(batch))
    }
}

fn lines(batch: &[Parcel]) -> String {
    batch.iter().flat_map(|parcel| [parcel.text.as_str(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Value;
    use crate::deliver::journal::Sequence;

    #[test]
    fn old_files_are_kept_and_counted() {
        let folder = std::env::temp_dir().join(format!("agentward-rotate-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("makes a folder");
        let path = folder.join("a.jsonl");
        let mut sink = FileSink::open(&path, Some(Rotation { bytes: 8, keep: 2 })).expect("opens");
        for number in 0..7 {
            let text = format!("{number}{number}{number}");
            let parcel =
                Parcel { sequence: Sequence(number), uid: String::new(), revision: 0, time: 0, alert: Value::Null, text };
            assert_eq!(sink.deliver(&[parcel]).expect("writes"), [Fate::Delivered]);
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!([read("a.jsonl"), read("a.jsonl.1"), read("a.jsonl.2")], ["666\n", "444\n555\n", "222\n333\n"]);
        assert!(!folder.join("a.jsonl.3").exists());
        std::fs::remove_file(&path).expect("somebody moves it away");
        let parcel =
            Parcel { sequence: Sequence(9), uid: String::new(), revision: 0, time: 0, alert: Value::Null, text: "9".into() };
        sink.deliver(&[parcel]).expect("reopens");
        assert_eq!(read("a.jsonl"), "9\n");
        std::fs::write(&path, "half").expect("a kill cuts a line");
        let mut sink = FileSink::open(&path, None).expect("opens");
        let parcel =
            Parcel { sequence: Sequence(9), uid: String::new(), revision: 0, time: 0, alert: Value::Null, text: "9".into() };
        sink.deliver(&[parcel]).expect("writes");
        assert_eq!(read("a.jsonl"), "half\n9\n");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
