//! Paquebot, composed: command line, config, wiring, the admin side and telemetry.
//!
//! Nothing here decides what happens to a packet: that is the law's (`protocol`), kept by `store`
//! and lived by `actors`. This room starts them in order, shows how they are, and stops them.

pub mod admin;
pub mod bench;
pub mod cli;
pub mod config;
pub mod dead_letters;
pub mod doctor;
pub mod door;
pub mod exit;
pub mod fleet;
pub mod handlers;
pub mod init;
pub mod ledger;
pub mod manual;
pub mod print;
pub mod question;
pub mod run;
pub mod schema;
pub mod send;
pub mod spool;
pub mod status;
pub mod telemetry;
pub mod top;
pub mod torture;
pub mod trace;
pub mod unix_socket;
pub mod wiring;
mod words;
