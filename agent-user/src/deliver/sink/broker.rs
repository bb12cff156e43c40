//! Files that a process without rights delivers to or takes secrets from: another process opens them, and only those of the plans.
//!
//! A process that nobody [`entrust`]ed opens files itself.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Plan, Rotation, Target};
use crate::relay;

/// The one who opens files for this process. Confinement is of a whole process, so one is enough.
static OTHER: OnceLock<Mutex<UnixStream>> = OnceLock::new();

#[derive(Debug, Serialize, Deserialize)]
enum Wish {
    Read(PathBuf),
    /// To append to, unless it is still the file of this device and inode.
    Append(PathBuf, Option<(u64, u64)>),
    Rotate(PathBuf),
}

/// The number of an error; `Ok` with a descriptor beside it, or without one where there is nothing new.
type Answer = Result<(), i32>;

/// From now on `socket` leads to a [`Broker`] that opens what this process asks for.
pub fn entrust(socket: UnixStream) {
    // A second one is not needed: the first serves as long as this process lives.
    let _ = OTHER.set(Mutex::new(socket));
}

pub(super) fn read(path: &Path) -> io::Result<File> {
    match OTHER.get() {
        None => File::open(path),
        Some(other) => ask(other, &Wish::Read(path.to_owned()))?.ok_or_else(|| io::ErrorKind::InvalidData.into()),
    }
}

/// The file to append to, unless `have` is still the one.
pub(super) fn append(path: &Path, have: Option<&File>) -> io::Result<Option<File>> {
    let have = have.map(File::metadata).transpose()?.map(|have| (have.dev(), have.ino()));
    match OTHER.get() {
        None => append_here(path, have),
        Some(other) => ask(other, &Wish::Append(path.to_owned(), have)),
    }
}

pub(super) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    match OTHER.get() {
        None => rotate_here(path, keep),
        Some(other) => ask(other, &Wish::Rotate(path.to_owned())).map(|_| ()),
    }
}

fn ask(other: &Mutex<UnixStream>, wish: &Wish) -> io::Result<Option<File>> {
    let socket = other.lock().unwrap_or_else(PoisonError::into_inner);
    relay::send(&socket, wish, &[])?;
    let mut files = Vec::new();
    let answer: Option<Answer> = relay::receive(&socket, &mut files)?;
    match answer {
        Some(Ok(())) => Ok(files.pop().map(File::from)),
        Some(Err(number)) => Err(io::Error::from_raw_os_error(number)),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// The mode lets only the owner and the group read: alerts name people and objects.
fn append_here(path: &Path, have: Option<(u64, u64)>) -> io::Result<Option<File>> {
    if have.is_some() && std::fs::metadata(path).is_ok_and(|now| have == Some((now.dev(), now.ino()))) {
        return Ok(None);
    }
    OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path).map(Some)
}

fn rotate_here(path: &Path, keep: u32) -> io::Result<()> {
    let old = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    for number in (1..keep).rev() {
        if old(number).exists() {
            std::fs::rename(old(number), old(number + 1))?;
        }
    }
    if keep == 0 { std::fs::remove_file(path) } else { std::fs::rename(path, old(1)) }
}

/// What may be opened for others.
pub struct Broker {
    secrets: HashSet<PathBuf>,
    /// Files that alerts are appended to, and how many old ones are kept.
    files: HashMap<PathBuf, u32>,
}

impl Broker {
    /// The files of these plans, and no others.
    pub fn of(plans: &[Plan]) -> Broker {
        let secrets = plans.iter().flat_map(Plan::secrets).map(|secret| secret.path().to_owned()).collect();
        let files = plans.iter().filter_map(|plan| match &plan.target {
            Target::File { path, rotate } => Some((path.clone(), rotate.map_or(0, |Rotation { keep, .. }| keep))),
            _ => None,
        });
        Broker { secrets, files: files.collect() }
    }

    /// Opens what is asked for at the other end of `socket`, until that is closed or says what nobody of ours says.
    pub fn serve(&self, socket: &UnixStream) -> io::Result<()> {
        while let Some(wish) = relay::receive::<Wish>(socket, &mut Vec::new())? {
            match self.grant(&wish) {
                Ok(file) => {
                    let file = file.as_ref().map(File::as_fd);
                    relay::send(socket, &Answer::Ok(()), file.as_slice())?;
                }
                Err(error) => {
                    relay::send(socket, &Answer::Err(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())), &[])?;
                }
            }
        }
        Ok(())
    }

    fn grant(&self, wish: &Wish) -> io::Result<Option<File>> {
        let refused = || io::Error::from(Errno::PERM);
        match wish {
            Wish::Read(path) if self.secrets.contains(path) => File::open(path).map(Some),
            Wish::Append(path, have) if self.files.contains_key(path) => append_here(path, *have),
            Wish::Rotate(path) => {
                let keep = *self.files.get(path).ok_or_else(refused)?;
                rotate_here(path, keep).map(|()| None)
            }
            Wish::Read(_) | Wish::Append(..) => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::codec::Codec;
    use crate::deliver::sink::{Filter, SecretFile, Tls};

    fn plan(target: Target) -> Plan {
        Plan { name: "a".into(), codec: Codec::Native, filter: Filter::default(), batch: 1, target }
    }

    #[test]
    fn only_what_the_plans_name_is_opened() {
        let folder = std::env::temp_dir().join(format!("agentward-broker-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("makes a folder");
        let at = |name: &str| folder.join(name);
        std::fs::write(at("secret"), "s").expect("writes");
        std::fs::write(at("other"), "o").expect("writes");
        let file = Target::File { path: at("alerts"), rotate: Some(Rotation { bytes: 1, keep: 1 }) };
        let token = Some(SecretFile::new(&at("secret")));
        let nats = Target::Nats { urls: Vec::new(), subject: String::new(), tls: Tls::default(), token };
        let broker = Broker::of(&[plan(file), plan(nats)]);
        let (here, there) = UnixStream::pair().expect("a pair of sockets");
        let server = std::thread::spawn(move || broker.serve(&there));
        let other = Mutex::new(here);
        let got = |wish: Wish| ask(&other, &wish).map(|file| file.is_some()).map_err(|error| error.raw_os_error());
        for (wish, expected) in [
            (Wish::Read(at("secret")), Ok(true)),
            (Wish::Read(at("other")), Err(Some(Errno::PERM.raw_os_error()))),
            (Wish::Read(at("alerts")), Err(Some(Errno::PERM.raw_os_error()))),
            (Wish::Append(at("alerts"), None), Ok(true)),
            (Wish::Append(at("secret"), None), Err(Some(Errno::PERM.raw_os_error()))),
            (Wish::Rotate(at("other")), Err(Some(Errno::PERM.raw_os_error()))),
            (Wish::Rotate(at("alerts")), Ok(false)),
            (Wish::Rotate(at("alerts")), Err(Some(Errno::NOENT.raw_os_error()))),
        ] {
            let told = format!("{wish:?}");
            assert_eq!(got(wish), expected, "{told}");
        }
        assert!(at("alerts.1").exists());
        drop(other);
        server.join().expect("no panic").expect("the socket was closed");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
