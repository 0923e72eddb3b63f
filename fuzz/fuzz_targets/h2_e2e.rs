#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headgate_fuzz::h2_e2e::judge(data));
