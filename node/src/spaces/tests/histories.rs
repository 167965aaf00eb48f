//! Random histories: whatever nodes write, and whatever becomes of links, answers, processes and the store, at rest every
//! copy is what the broker has, and nobody is accused.
//!
//! A history that fails is printed, the shortest that still does. It is made of steps, of which those that run beside each
//! other may fall out differently another time.

use std::future::Future;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::script::{NODES, Script, Step, step};
use super::world::World;

/// Always the same histories; `PROPTEST_CASES` asks for so many others.
const CASES: u32 = 24;
const SEED: u64 = 6;

pub(super) fn config() -> ProptestConfig {
    let default =
        ProptestConfig { max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return default;
    }
    ProptestConfig { cases: CASES, rng_seed: RngSeed::Fixed(SEED), ..default }
}

pub(super) fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

async fn happens(Script(steps): Script) {
    let mut world = World::new().await;
    for who in 0..NODES {
        world.happens(Step::Link(who)).await;
    }
    for step in steps {
        world.happens(step).await;
    }
    for who in 0..NODES {
        world.happens(Step::Link(who)).await;
    }
    world.rests().await;
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_copies_are_what_an_honest_broker_has_and_nobody_is_accused(
        script in prop::collection::vec(step(), 1..40).prop_map(Script)
    ) {
        block_on(happens(script));
    }
}
