//! What a new epoch costs: `cargo run --release --example key_list [holders]` seals its key to so many members, proves
//! each slot, and verifies them as a broker does.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the real clock")]

use std::time::Instant;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use waxwing_crypto::state_key::{Holder, KeyList, ProvenSlot, StateKeys};
use waxwing_crypto::{MeshId, NodeId, Result, SealingKey};

fn main() -> Result<()> {
    let holders: usize = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(10_000);
    let rng = &mut UnwrapErr(SysRng);
    let mesh = MeshId::from_bytes([1; 16]);
    let keys = StateKeys::found(rng).next(2, rng)?;
    let own = SealingKey::generate(rng);
    let public = own.public()?;
    let all: Vec<_> = (0..holders)
        .map(|n| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            (Holder::Node(NodeId::from_bytes(id)), public.clone())
        })
        .collect();
    let start = Instant::now();
    let list = KeyList::seal(mesh, &keys, &all, rng)?;
    let sealed = start.elapsed();
    let start = Instant::now();
    let slots: Vec<ProvenSlot> = list.slots().collect();
    let proven = start.elapsed();
    let (root, start) = (list.root(), Instant::now());
    for slot in &slots {
        slot.verify(mesh, list.head(), &root)?;
    }
    let verified = start.elapsed();
    let start = Instant::now();
    slots[holders / 2].slot.open(mesh, list.head(), &own)?;
    let opened = start.elapsed();
    println!("{holders} slots: sealed in {sealed:.2?}, proven in {proven:.2?}, verified in {verified:.2?}");
    println!("one slot opened in {opened:.2?}");
    Ok(())
}
