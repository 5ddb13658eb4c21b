//! The folder of one user's sockets: `$XDG_RUNTIME_DIR/balun`, or `/tmp/balun-UID` without one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Where it is, whether it is there or not. Must be asked for before a user namespace is entered, in
/// which the process has another number.
pub fn path() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| Path::new(folder).is_absolute()) {
        Some(folder) => Path::new(&folder).join("balun"),
        None => format!("/tmp/balun-{}", geteuid()).into(),
    }
}

/// Makes `folder` if it is not there, for this user alone.
///
/// # Errors
/// `PermissionDenied` if it is another's, open to others, or no folder: somebody may have laid a trap
/// in `/tmp`.
pub fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let metadata = fs::symlink_metadata(folder)?;
    let denied = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !metadata.is_dir() {
        return denied("it is no folder");
    }
    if metadata.uid() != geteuid().as_raw() {
        return denied("it belongs to another user");
    }
    if metadata.mode() & 0o077 != 0 {
        return denied("others may enter it: chmod 700 it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_user_alone() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("balun");
        make(&folder).unwrap();
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn traps_are_seen() {
        let around = tempfile::tempdir().unwrap();
        let open = around.path().join("open");
        make(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(make(&open).unwrap_err().to_string().contains("others may enter"));
        let link = around.path().join("link");
        std::os::unix::fs::symlink(around.path(), &link).unwrap();
        assert!(make(&link).unwrap_err().to_string().contains("no folder"));
    }
}
