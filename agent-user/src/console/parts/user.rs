//! Who the confined parts are, and what is theirs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use rustix::thread::{CapabilitySet, capabilities};

use super::User;
use crate::console::Failure;

/// Where no user is called so: within the range that systemd gives to services and nobody else uses.
const NAME: &str = "agentward";
const NOBODY: User = User { uid: 64_973, gid: 64_973 };

/// The user of the confined parts; `None` where this process may not give them one, and they keep its own.
pub(in crate::console) fn user() -> Option<User> {
    let become_it = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN;
    // To end it, and to write beside what is its own then.
    let live_with_it = CapabilitySet::KILL | CapabilitySet::DAC_OVERRIDE;
    let needed = become_it | live_with_it;
    let held = capabilities(None).ok()?.effective;
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    held.contains(needed).then(|| known(&passwd).unwrap_or(NOBODY))
}

fn known(passwd: &str) -> Option<User> {
    let mut fields = passwd.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(NAME))?.skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Gives a folder of the daemon and all below it to the user of the confined parts. The folder itself comes last: one that is theirs was
/// handed over whole.
pub(in crate::console) fn hand_over(folder: &Path, user: Option<User>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file(folder, "be made and handed over", &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let Some(user) = user else { return Ok(()) };
    if std::fs::metadata(folder).map_err(failed)?.uid() == user.uid {
        return Ok(());
    }
    give(folder, user).map_err(failed)
}

fn give(path: &Path, user: User) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nagentward-old:x:7:7::/:/bin/false\nagentward:x:998:997::/:/bin/false\n";
        assert_eq!(known(passwd), Some(User { uid: 998, gid: 997 }));
        assert_eq!(known("root:x:0:0:root:/root:/bin/sh\n"), None);
        assert_eq!(known("agentward:x\n"), None);
    }
}
