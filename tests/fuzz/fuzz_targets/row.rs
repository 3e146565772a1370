#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kv_tests::fuzzing::row(bytes));
