//! What the fuzzer runs. The same functions run in every test run, on what is in corpus/ (protocol/tests/corpus.rs).

pub mod targets;
