//! Sinks: where journal records go. Each is driven by a thread and a cursor of its own (see [`super::outbox`]).

mod file;

use std::io;

pub use file::FileSink;

use super::journal::Sequence;

/// A record on its way to a receiver.
#[derive(Clone, Debug)]
pub struct Record {
    pub sequence: Sequence,
    pub entry: super::outbox::Entry,
}

/// A receiver. At-least-once: after an error the whole batch comes again, with the same uids.
pub trait Sink: Send {
    /// Returns when the receiver has acknowledged every record.
    fn deliver(&mut self, batch: &[Record]) -> io::Result<()>;
}
