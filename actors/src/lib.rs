//! Paquebot's life: thin actors that own a mailbox, a socket or a timer, and hold no rules.
//!
//! ```text
//! CLIENT   source ── Store ──▶ persistence ══▶ spool thread
//!             ▲                    ▲  │              │
//!             └──── stored, handled ┘ │ StoredRuns ◀─┘
//!                                     ▼
//!                  connection ── Read, Prove, DropThrough, Rekey ──▶ persistence
//!                      ║
//!                  frames on a socket
//!                      ║
//! SERVER   listener ─▶ session ── Route ──▶ router ── Handle ──▶ handler ── Record ──▶ ledger
//!                        ▲  └── Admit, Acquire, Release ──────────────────────────────▶  ║
//!                        └─────────────────── Outcome ◀──────────────────────── ledger thread
//! ```
//!
//! Asks go down the packet's life only; answers and facts come back as messages, so that no two
//! actors ever wait for each other. Nothing that carries packets is sent without a permit or a window
//! behind it: that, not the mailbox, is what bounds memory, and it is why `do_send` is used here.

pub mod attempt;
pub mod clock;
pub mod connection;
pub mod fleet;
pub mod handler;
pub mod ledger;
pub mod link;
pub mod listener;
pub mod lookout;
pub mod meters;
pub mod permit;
pub mod persistence;
pub mod receipts;
pub mod replay;
pub mod roster;
pub mod router;
pub mod seat;
mod seldom;
pub mod session;
pub mod share;
mod shelf;
mod socket;
pub mod source;
mod writer;
