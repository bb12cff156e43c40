//! One segment file: frames of `u32` length, `u32` CRC-32 (IEEE 802.3) over length and payload, payload; little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Sequence, fault};

const HEADER: usize = 8;

/// Longest record. Alerts are a few KiB; a damaged length must not allocate.
pub(super) const RECORD_BYTES: usize = 16 << 20;

pub(super) fn frame_len(payload: &[u8]) -> u64 {
    (HEADER + payload.len()) as u64
}

pub(super) fn path(folder: &Path, first: Sequence) -> PathBuf {
    folder.join(format!("{:020}.seg", first.0))
}

/// First sequence numbers of all segments, ascending.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Sequence>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|number| number.parse().ok());
        found.extend(number.map(Sequence));
    }
    found.sort();
    Ok(found)
}

pub(super) struct Segment {
    file: File,
    length: u64,
    buffer: Vec<u8>,
    /// Up to here the file is known to be on the disk.
    synced: u64,
    /// Something may stand behind `length`: half a frame of a failed write, or frames that were taken back.
    torn: bool,
}

impl Segment {
    pub(super) fn create(folder: &Path, first: Sequence) -> io::Result<Segment> {
        fault::at(fault::Point::Create)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path(folder, first))?;
        // The name itself must survive a crash.
        File::open(folder)?.sync_all()?;
        Ok(Segment { file, length: 0, buffer: Vec::new(), synced: 0, torn: false })
    }

    /// Opens for appending; cuts off what is not a whole record. Returns the number after the last one.
    pub(super) fn reopen(folder: &Path, first: Sequence) -> io::Result<(Segment, Sequence)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path(folder, first))?;
        let (mut length, mut count) = (0, 0);
        {
            let mut reader = io::BufReader::new(&mut file);
            let mut payload = Vec::new();
            while read_frame(&mut reader, &mut payload)? {
                length += frame_len(&payload);
                count += 1;
            }
        }
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        // What was read may only be in the cache of the system.
        file.sync_data()?;
        Ok((Segment { file, length, buffer: Vec::new(), synced: length, torn: false }, Sequence(first.0 + count)))
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "record too long for the journal");
        let length = u32::try_from(payload.len()).ok().filter(|length| *length as usize <= RECORD_BYTES).ok_or_else(too_long)?;
        self.mend()?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&checksum(length, payload).to_le_bytes());
        self.buffer.extend_from_slice(payload);
        self.torn = true;
        fault::write(&mut self.file, &self.buffer)?;
        self.torn = false;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Cuts off what stands behind the last record, so that no reader takes it for one.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            fault::at(fault::Point::Truncate)?;
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            self.torn = false;
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.mend()?;
        fault::at(fault::Point::Sync)?;
        self.file.sync_data()?;
        self.synced = self.length;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Forgets what is not known to be on the disk; the next append overwrites it.
    pub(super) fn take_back(&mut self) {
        self.torn |= self.length != self.synced;
        self.length = self.synced;
    }
}

/// Reads the next whole frame into `payload`; false at the end, which a torn or damaged frame also is.
pub(super) fn read_frame(input: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<bool> {
    let mut header = [0; HEADER];
    if !read_whole(input, &mut header)? {
        return Ok(false);
    }
    let [a, b, c, d, e, f, g, h] = header;
    let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    if length as usize > RECORD_BYTES {
        return Ok(false);
    }
    payload.resize(length as usize, 0);
    Ok(read_whole(input, payload)? && checksum(length, payload) == sum)
}

fn read_whole(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Over the length too: a file of zeros is not a row of empty records.
fn checksum(length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
