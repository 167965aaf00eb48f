//! Records of spaces: what a broker keeps for members without being able to read it.

mod condition;

pub use condition::Condition;
