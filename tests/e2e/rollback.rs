//! A broker whose store was set back is not believed.

use std::path::Path;

use waxwing_lab::Lab;

use crate::support::{PROGRAM, WITHIN};

#[tokio::test]
async fn a_broker_that_shows_an_older_membership_log_is_refused() {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    lab.add("alpha").await.unwrap();
    lab.stop(Lab::BROKER).await.unwrap();
    let store = lab.state(Lab::BROKER);
    let backup = lab.folder().join("backup");
    copy(&store, &backup);

    lab.restart(Lab::BROKER).await.unwrap();
    lab.linked("alpha").await.unwrap();
    lab.add("beta").await.unwrap();
    lab.stop(Lab::BROKER).await.unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    lab.restart(Lab::BROKER).await.unwrap();

    // Nothing is left that alpha could do, so it ends, and says why.
    let ended = lab.process("alpha").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(5), "{}", lab.process("alpha").log_end());
    assert!(lab.process("alpha").log().contains("log_rollback"), "{}", lab.process("alpha").log_end());
}

/// Copies a folder of files.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mode = std::fs::metadata(from).unwrap().permissions();
    std::fs::set_permissions(to, mode).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
