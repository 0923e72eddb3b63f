#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headgate_fuzz::config_model::judge(data));
