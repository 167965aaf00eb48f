//! Whether an executable is one that only its owner could have put there.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Why something is not run.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is nothing.
    #[error("there is no such file")]
    Missing,
    /// It cannot be looked at.
    #[error("it cannot be looked at: {0}")]
    Hidden(String),
    /// It is a folder, or something else.
    #[error("it is no file")]
    NotAFile,
    /// It cannot be run.
    #[error("this user cannot execute it")]
    NotExecutable,
    /// Somebody else can change it, who would then be this user.
    #[error("{} belongs to user {owner}, who could change it", .path.display())]
    Foreign {
        /// It, or a folder that it is in.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others can change it, who would then be this user.
    #[error("others than its owner can change {}", .0.display())]
    Open(PathBuf),
}

impl Unfit {
    /// The command that mends it.
    pub fn mend(&self, hook: &Path) -> String {
        match self {
            Self::Missing | Self::Hidden(_) | Self::NotAFile => {
                format!("put it there, or take it out of [hooks]: ls -l {}", hook.display())
            }
            Self::NotExecutable => format!("chmod u+x {}", hook.display()),
            Self::Foreign { path, .. } => {
                format!("chown {} {}", rustix::process::geteuid().as_raw(), path.display())
            }
            Self::Open(path) => format!("chmod go-w {}", path.display()),
        }
    }
}

/// Checks a file, and every folder that it is in: who can rename one of those can put another file in its place.
pub(super) fn fit(path: &Path) -> Result<(), Unfit> {
    let failed = |error: std::io::Error| {
        if error.kind() == ErrorKind::NotFound { Unfit::Missing } else { Unfit::Hidden(error.to_string()) }
    };
    // Where it really is: a link is as safe as what it leads to.
    let real = fs::canonicalize(path).map_err(failed)?;
    let file = fs::metadata(&real).map_err(failed)?;
    if !file.is_file() {
        return Err(Unfit::NotAFile);
    }
    for place in real.ancestors() {
        owned(place, &fs::metadata(place).map_err(failed)?)?;
    }
    access(&real, Access::EXEC_OK).map_err(|_| Unfit::NotExecutable)
}

/// Whether only this user and root can change it.
fn owned(path: &Path, found: &Metadata) -> Result<(), Unfit> {
    let (owner, mode) = (found.uid(), found.permissions().mode());
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Unfit::Foreign { path: path.to_owned(), owner });
    }
    // In a folder like /tmp nobody can rename what is another's.
    let sticky = found.is_dir() && mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !sticky { Err(Unfit::Open(path.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_could_change_is_not_run_nor_what_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().canonicalize().unwrap().join("hooks");
        let hook = inner.join("mail");
        assert!(matches!(fit(&hook), Err(Unfit::Missing)));
        fs::create_dir(&inner).unwrap();
        set(&inner, 0o755);
        assert!(matches!(fit(&inner), Err(Unfit::NotAFile)));
        fs::write(&hook, "#!/bin/sh\n").unwrap();
        set(&hook, 0o644);
        assert_eq!(fit(&hook).unwrap_err().mend(&hook), format!("chmod u+x {}", hook.display()));
        set(&hook, 0o755);
        fit(&hook).unwrap();
        for mode in [0o775, 0o757] {
            set(&hook, mode);
            assert_eq!(fit(&hook).unwrap_err().mend(&hook), format!("chmod go-w {}", hook.display()));
        }
        set(&hook, 0o700);
        set(&inner, 0o777);
        assert_eq!(fit(&hook).unwrap_err().mend(&hook), format!("chmod go-w {}", inner.display()));
        set(&inner, 0o1777);
        fit(&hook).unwrap();

        // A link to it from elsewhere is judged by where it leads.
        let link = folder.path().join("link");
        symlink(&hook, &link).unwrap();
        fit(&link).unwrap();
        set(&inner, 0o777);
        assert!(matches!(fit(&link), Err(Unfit::Open(path)) if path == inner));
    }
}
