//! Paquebot's law: what a packet is, how it is encoded, and what both sides of a lane do.
//!
//! Nothing here does I/O, reads a clock or draws a random number; time and facts come in, orders
//! come out. Nothing here moves payloads around either: the machines know numbers and sizes, the
//! shells in `actors` hold the bytes. That is what lets a model, a simulation and the program drive
//! the very same code.
//!
//! In the order of a packet's life:
//!
//! | file | decides |
//! |---|---|
//! | [`packet`], [`batch`] | what an event becomes, encoded once |
//! | [`run`], [`chain`] | what is stored and sent, and how its history is proved |
//! | [`outbox`], [`window`] | the sender's side of every lane |
//! | [`frame`], [`codec`] | what is said on the wire |
//! | [`inbox`], [`lease`] | the receiver's side of every lane |
//! | [`route`] | which handler takes a packet |
//! | [`retention`], [`retirement`] | which packets have outlived their time, and which lanes |
//! | [`backoff`], [`heartbeat`] | when to try again, and when a peer is dead |
//! | [`status`] | what a client tells of itself |
//! | [`id`], [`target`], [`time`] | the words |

pub mod backoff;
pub mod batch;
pub mod chain;
pub mod codec;
pub mod frame;
pub mod heartbeat;
pub mod id;
pub mod inbox;
pub mod lease;
pub mod outbox;
pub mod packet;
pub mod retention;
pub mod retirement;
pub mod route;
pub mod run;
pub mod status;
pub mod target;
pub mod time;
pub mod window;

pub use batch::Batch;
pub use chain::{Chain, Held, Origin};
pub use frame::{Control, Frame};
pub use id::{ClientId, Lane, LaneKey, LedgerId, Number, PacketId, SpoolId};
pub use packet::{Meta, Packet};
pub use retirement::Retired;
pub use run::Run;
pub use target::{TargetId, TargetPattern};
pub use time::Millis;
