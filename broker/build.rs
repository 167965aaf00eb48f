//! Rebuilds when a migration is added: the compiler only notices those it already knew.

fn main() {
    println!("cargo:rerun-if-changed=../migrations/broker");
}
