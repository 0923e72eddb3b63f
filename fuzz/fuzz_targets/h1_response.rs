#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headgate_fuzz::h1_response::judge(data));
