//! Secrets that a broker makes once and keeps in its data folder, for its owner alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// More than any secret here has.
const MAX: u64 = 16 * 1024;

/// The secret in a file. If there is none, `make` makes it, and it is on the disk before anybody is told.
///
/// # Errors
/// `Config` if the file cannot be read or written, or if others have access to it.
pub(crate) fn keep(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<Zeroizing<String>> {
    let failed = |err| Error::Config(format!("{}: {err}", path.display()));
    match File::open(path) {
        Ok(file) => read(file, path),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let secret = make()?;
            write(path, &secret).map_err(failed)?;
            Ok(secret)
        }
        Err(err) => Err(failed(err)),
    }
}

fn read(file: File, path: &Path) -> Result<Zeroizing<String>> {
    let failed = |err| Error::Config(format!("{}: {err}", path.display()));
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(Error::Config(format!(
            "{path} has mode {mode:03o}: others have access. chmod 600 {path}"
        )));
    }
    let mut secret = Zeroizing::new(String::new());
    file.take(MAX).read_to_string(&mut secret).map_err(failed)?;
    Ok(secret)
}

/// Writes it beside its place and moves it there: after a crash there is all of it, or nothing.
fn write(path: &Path, secret: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(path.with_extension("new"), "of a crash").unwrap();
        let made = keep(&path, || Ok(Zeroizing::new("first".into()))).unwrap();
        let kept = keep(&path, || Ok(Zeroizing::new("second".into()))).unwrap();
        assert_eq!((made.as_str(), kept.as_str()), ("first", "first"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = keep(&path, || Ok(Zeroizing::new("third".into()))).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }
}
