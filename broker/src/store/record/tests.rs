use super::*;
use crate::store::testing::plan;

#[tokio::test]
async fn rows_are_looked_up_by_their_indexes() {
    for (sql, index) in [
        (IN_SLOTS.for_one(), "record_key (mesh=? AND space=? AND key=? AND stands=?)"),
        (AT.for_one(), "record_place (mesh=? AND space=? AND seq=?)"),
        (APPENDED_UNDER.for_one(), "record_key (mesh=? AND space=? AND key=? AND stands=? AND kind=?)"),
    ] {
        let plan = plan(sql).await;
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("SCAN r"), "{plan}");
    }
}
