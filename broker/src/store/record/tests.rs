use super::*;
use crate::store::testing::{database, plan};

#[tokio::test]
async fn rows_are_looked_up_by_their_indexes() {
    let mut db = database().await;
    for (sql, index) in [
        (
            IN_SLOTS.padded(&[0; 4]).next().unwrap().0,
            "record_key (mesh=? AND space=? AND key=? AND stands=?)",
        ),
        (AT.padded(&[0; 4]).next().unwrap().0, "record_place (mesh=? AND space=? AND seq=?)"),
        (
            APPENDED_UNDER.padded(&[0; 4]).next().unwrap().0,
            "record_key (mesh=? AND space=? AND key=? AND stands=? AND kind=?)",
        ),
    ] {
        let plan = plan(&mut db, sql).await;
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("SCAN r"), "{plan}");
    }
}
