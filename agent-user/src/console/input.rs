//! Recordings as files: opening, faults with the file's name, and writing with mode 0600.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::progress::Progress;
use super::{Failure, VERSION};
use crate::capture::Observation;
use crate::capture::recording::{Encoding, Reader, RecordingError, Writer};
use crate::deliver::line::printable;

/// Feeds every observation of the file to `take`, which prints nothing meanwhile. A fault in the middle is returned after everything
/// before it was taken.
pub(super) fn each_observation(
    path: &Path,
    lenient: bool,
    take: impl FnMut(Observation) -> Result<(), Failure>,
) -> Result<(), Failure> {
    feed(path, lenient, false, take)
}

/// The same for work that prints as it goes.
pub(super) fn each_observation_printed(
    path: &Path,
    lenient: bool,
    take: impl FnMut(Observation) -> Result<(), Failure>,
) -> Result<(), Failure> {
    feed(path, lenient, true, take)
}

fn feed(
    path: &Path,
    lenient: bool,
    prints: bool,
    mut take: impl FnMut(Observation) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| Failure::file(path, "open", &error))?;
    let total = file.metadata().map_or(0, |metadata| metadata.len());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = Progress::new(file, &printable(&name), total, prints);
    let fault = |error: RecordingError| Failure::Input(format!("{}:{error}", path.display()));
    let mut reader = Reader::new(BufReader::with_capacity(1 << 18, file), lenient).map_err(fault)?;
    while let Some(observation) = reader.next_observation().map_err(fault)? {
        take(observation)?;
    }
    if reader.skipped() > 0 {
        eprintln!("agentward: {}: {} records skipped (--lenient)", path.display(), reader.skipped());
    }
    Ok(())
}

/// A new recording. It holds plaintext: only its owner may read it, and a file that exists with wider rights is refused by mode.
pub(super) fn create_recording(path: &Path) -> Result<Writer<BufWriter<File>>, Failure> {
    let encoding = path
        .to_str()
        .and_then(Encoding::from_name)
        .ok_or_else(|| Failure::Input(format!("{}: a recording's name ends in .awr or .jsonl", path.display())))?;
    let create = |error| Failure::file(path, "create", &error);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(create)?;
    // An existing file keeps its old mode at open.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(create)?;
    Writer::new(BufWriter::with_capacity(1 << 18, file), encoding, VERSION).map_err(create)
}
