//! The sender's side of a connection, with a server that says anything.
#![no_main]

#[path = "../../protocol/tests/drivers/choices.rs"]
mod choices;
#[path = "../../protocol/tests/drivers/connection.rs"]
mod connection;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connection::drive(bytes));
