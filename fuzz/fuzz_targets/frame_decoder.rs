//! The codec on any bytes, in pieces of any size; what was read is written and read again.
#![no_main]

#[path = "../../protocol/tests/drivers/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::drive(bytes));
