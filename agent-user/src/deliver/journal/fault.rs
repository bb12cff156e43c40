//! Where the disk can fail. In the program these are the plain calls; the model test makes them fail.

#[cfg(not(test))]
pub(super) use plain::{Point, at, write};
#[cfg(test)]
pub(super) use planned::{FAULTS, Kind, Point, at, plan, write};

#[cfg(not(test))]
mod plain {
    use std::fs::File;
    use std::io::{self, Write};

    #[derive(Clone, Copy)]
    pub(in super::super) enum Point {
        Create,
        Sync,
        Truncate,
        Remove,
    }

    #[inline]
    pub(in super::super) fn at(_: Point) -> io::Result<()> {
        Ok(())
    }

    pub(in super::super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

#[cfg(test)]
mod planned {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io::{self, ErrorKind, Write};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum Point {
        Create,
        Write,
        Sync,
        Truncate,
        Remove,
    }

    #[derive(Clone, Copy, Debug)]
    pub(in super::super) enum Kind {
        Full,
        Broken,
    }

    pub(in super::super) const FAULTS: [Point; 5] = [Point::Create, Point::Write, Point::Sync, Point::Truncate, Point::Remove];

    thread_local! {
        /// The point that fails next, how, and after how many bytes of a write.
        static PLAN: RefCell<Option<(Point, Kind, usize)>> = const { RefCell::new(None) };
    }

    pub(in super::super) fn plan(next: Option<(Point, Kind, usize)>) -> Option<(Point, Kind, usize)> {
        PLAN.with(|plan| plan.replace(next))
    }

    fn due(point: Point) -> Option<(Kind, usize)> {
        PLAN.with(|plan| {
            let (wanted, kind, after) = (*plan.borrow())?;
            (wanted == point).then(|| {
                plan.replace(None);
                (kind, after)
            })
        })
    }

    fn error(kind: Kind) -> io::Error {
        match kind {
            Kind::Full => io::Error::from(ErrorKind::StorageFull),
            Kind::Broken => io::Error::other("the disk reports an error"),
        }
    }

    pub(in super::super) fn at(point: Point) -> io::Result<()> {
        due(point).map_or(Ok(()), |(kind, _)| Err(error(kind)))
    }

    /// A failing write leaves a part behind, as real ones do.
    pub(in super::super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        match due(Point::Write) {
            None => file.write_all(bytes),
            Some((kind, after)) => {
                file.write_all(&bytes[..after.min(bytes.len())])?;
                Err(error(kind))
            }
        }
    }
}
