//! Any text as a config file and as an override.
#![no_main]

#[path = "../../tests/config/driver.rs"]
mod driver;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| driver::drive(bytes));
