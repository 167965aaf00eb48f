//! Looking for what must not be there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a search went through, and what it found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: usize,
    /// Each needle found, and where.
    pub found: Vec<(String, PathBuf)>,
}

impl Scan {
    /// Reads every file of a folder, or one file.
    ///
    /// # Errors
    /// If something in it cannot be read. A file that goes while the search runs is not there.
    pub fn path(&mut self, path: &Path, needles: &[&str]) -> Result<()> {
        let kind = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(err) => return Err(Error::Io("looking at a file to search it", err)),
        };
        if kind.is_dir() {
            for entry in fs::read_dir(path).map_err(Error::io("reading a folder to search it"))? {
                self.path(&entry.map_err(Error::io("reading a folder to search it"))?.path(), needles)?;
            }
        } else if kind.is_file() {
            match fs::read(path) {
                Ok(content) => {
                    self.files += 1;
                    self.content(path, &content, needles);
                }
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
                Err(err) => return Err(Error::Io("reading a file to search it", err)),
            }
        }
        Ok(())
    }

    /// Looks through bytes that are called so.
    pub fn content(&mut self, name: &Path, content: &[u8], needles: &[&str]) {
        self.bytes += content.len();
        for needle in needles {
            if contains(content, needle.as_bytes()) {
                self.found.push(((*needle).to_owned(), name.to_path_buf()));
            }
        }
    }
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && content.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), b"\0\0kingfisher\0").unwrap();
        fs::write(folder.path().join("d"), b"king fisher").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let mut scan = Scan::default();
        scan.path(folder.path(), &["kingfisher", "nightjar"]).unwrap();
        assert_eq!(scan.found, [("kingfisher".to_owned(), folder.path().join("a/b/c"))]);
        assert_eq!((scan.files, scan.bytes), (2, 24));
    }
}
