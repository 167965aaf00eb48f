#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| waxwing_fuzz::programs::node_config(data));
