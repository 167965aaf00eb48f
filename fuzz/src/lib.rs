//! What the fuzzer runs. The same functions run in every test run, on what is in corpus/.

pub mod programs;
pub mod targets;
