//! The name of a file's lease: the same for the same file of a repository, at whatever host and however it is spelled.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use waxwing_crypto::space::KeyName;
use waxwing_protocol::api::{Problem, ProblemCode};
use waxwing_protocol::limits;

/// What names of files begin with.
pub(crate) const FILE: &str = "file:";

/// `file:REPOSITORY:PATH`. With a root, links are followed as they are on this host's disk; without one the path is taken as it is
/// written.
pub(crate) async fn file_name(
    repository: Option<String>,
    root: Option<String>,
    file: String,
) -> Result<KeyName, Box<Problem>> {
    let repository = repository.ok_or_else(|| malformed("say which repository, as its URL"))?;
    if repository.is_empty() || repository.len() > limits::REPOSITORY {
        return Err(malformed(&format!("repository is 1 to {} bytes", limits::REPOSITORY)));
    }
    // Between it and the path is the first colon.
    let repository = repository.replace('%', "%25").replace(':', "%3A");
    let path = match root {
        Some(root) => {
            let found = tokio::task::spawn_blocking(move || under(Path::new(&root), Path::new(&file))).await;
            found.map_err(|_| Box::new(Problem::new(ProblemCode::Internal)))??
        }
        None => as_written(Path::new(&file))?,
    };
    let path = path.to_str().ok_or_else(|| malformed("the path is not UTF-8"))?;
    if path.is_empty() {
        return Err(malformed("the path is that of the repository itself: a lease by name says that better"));
    }
    let name = format!("{FILE}{repository}:{path}").parse();
    name.map_err(|_| malformed("repository and path have control characters, or are too long together"))
}

/// A path from the root, by its words alone.
fn as_written(path: &Path) -> Result<PathBuf, Box<Problem>> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir => return Err(outside()),
            Component::RootDir | Component::Prefix(_) => {
                return Err(malformed("a whole path needs the root that it is under"));
            }
        }
    }
    Ok(clean)
}

/// A path from the root, as the disk has it: links are followed, also where what they lead to is not there yet.
fn under(root: &Path, path: &Path) -> Result<PathBuf, Box<Problem>> {
    if !root.is_absolute() {
        return Err(malformed("root is a whole path"));
    }
    let root = root.canonicalize().map_err(|error| malformed(&format!("root cannot be read: {error}")))?;
    let mut there = root.clone();
    let mut left: Vec<OsString> = parts(path).into_iter().rev().collect();
    if path.is_absolute() {
        there = PathBuf::from("/");
    }
    let mut links = LINKS;
    while let Some(part) = left.pop() {
        if part == ".." {
            there.pop();
            continue;
        }
        there.push(&part);
        let Ok(target) = there.read_link() else { continue };
        links = links.checked_sub(1).ok_or_else(|| malformed("the path has too many links"))?;
        there.pop();
        if target.is_absolute() {
            there = PathBuf::from("/");
        }
        left.extend(parts(&target).into_iter().rev());
    }
    there.strip_prefix(&root).map(Path::to_path_buf).map_err(|_| outside())
}

/// Links followed in one path, as systems do.
const LINKS: usize = 40;

fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

fn outside() -> Box<Problem> {
    Box::new(Problem::new(ProblemCode::OutsideRoot))
}

fn malformed(detail: &str) -> Box<Problem> {
    Box::new(Problem::new(ProblemCode::Malformed).detail(detail))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn name(root: Option<&Path>, file: &str) -> Result<String, ProblemCode> {
        let root = root.map(|root| root.to_str().unwrap().to_owned());
        let name = file_name(Some("git@example.org:a/b".into()), root, file.into()).await;
        name.map(|name| name.to_string()).map_err(|problem| problem.code)
    }

    #[tokio::test]
    async fn mt_29_mt_30_mb_25_a_file_has_one_name_however_it_is_spelled_and_none_outside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("checkout");
        std::fs::create_dir_all(root.join("src/a")).unwrap();
        std::fs::write(root.join("src/a/c.rs"), "").unwrap();
        symlink(&root, folder.path().join("link")).unwrap();
        symlink("src/a", root.join("short")).unwrap();
        symlink(folder.path(), root.join("out")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let (linked, whole) = (folder.path().join("link"), root.join("src/a/c.rs"));
        let whole = whole.to_str().unwrap();
        let one = Ok("file:git@example.org%3Aa/b:src/a/c.rs".to_owned());
        for spelled in ["src/a/c.rs", "./src//a/x/../c.rs", "src/a/c.rs/", "src/./a/c.rs"] {
            assert_eq!(name(None, spelled).await, one, "{spelled}");
            assert_eq!(name(Some(&root), spelled).await, one, "{spelled}");
        }
        for (root, spelled) in
            [(&root, "short/c.rs"), (&linked, whole), (&root, whole), (&linked, "short/../a/c.rs")]
        {
            assert_eq!(name(Some(root), spelled).await, one, "{spelled}");
        }
        let new = Ok("file:git@example.org%3Aa/b:src/a/new/file".to_owned());
        assert_eq!(name(Some(&root), "short/new/file").await, new, "what is not there yet");
        for outside in ["../../x", "src/../../x", "out/x", "/etc/passwd", "out"] {
            assert_eq!(name(Some(&root), outside).await, Err(ProblemCode::OutsideRoot), "{outside}");
        }
        assert_eq!(name(None, "../../x").await, Err(ProblemCode::OutsideRoot));
        for none in ["", ".", "src/..", "loop/x", "a\nb", "a\0b"] {
            assert_eq!(name(Some(&root), none).await, Err(ProblemCode::Malformed), "{none:?}");
        }
        assert_eq!(name(None, whole).await, Err(ProblemCode::Malformed), "under which root?");
        assert_eq!(name(Some(Path::new("checkout")), "a").await, Err(ProblemCode::Malformed));
        assert_eq!(name(Some(&folder.path().join("absent")), "a").await, Err(ProblemCode::Malformed));
        assert_eq!(file_name(None, None, "a".into()).await.unwrap_err().code, ProblemCode::Malformed);
    }

    #[tokio::test]
    async fn no_two_files_of_repositories_have_the_same_name() {
        let named = async |repository: &str, file: &str| {
            file_name(Some(repository.into()), None, file.into()).await.unwrap().to_string()
        };
        assert_ne!(named("a", "b:c").await, named("a:b", "c").await);
        assert_ne!(named("a%3Ab", "c").await, named("a:b", "c").await);
    }
}
