//! The receiver's side of a connection, with a client that says anything.
#![no_main]

#[path = "../../protocol/tests/drivers/choices.rs"]
mod choices;
#[path = "../../protocol/tests/drivers/session.rs"]
mod session;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| session::drive(bytes));
