//! The load of `paquebot bench`, through what else a user might pick: a number of packets, of which so
//! many at most are under way, published, stored as durably as the peer is told to, and received.
//!
//! Each peer is used as its own documents say for speed: publishes are not waited for one by one, what
//! is received is acknowledged in groups where the peer knows groups. Prints a line of JSON.

mod mosquitto;
mod nats;
mod redis_streams;

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug, Parser)]
struct Cli {
    /// How many packets.
    #[arg(long)]
    packets: u64,
    /// How long each is, in bytes.
    #[arg(long)]
    size: usize,
    /// How many are under way at once.
    #[arg(long)]
    in_flight: u64,
    #[command(subcommand)]
    peer: Peer,
}

#[derive(Debug, Subcommand)]
enum Peer {
    /// A JetStream stream on an edge server, sourced by one on a hub over a leaf node, where it is
    /// consumed.
    Nats { edge: String, hub: String },
    /// A stream, added to and consumed on one server: no hop.
    Redis { url: String },
    /// QoS 1 to an edge broker, bridged to a hub, received there with QoS 1.
    Mosquitto { edge_port: u16, hub_port: u16 },
}

/// What is to be sent, and how much of it is under way.
#[derive(Debug)]
pub struct Load {
    packets: u64,
    data: Vec<u8>,
    room: Arc<Semaphore>,
}

impl Load {
    /// Waits until there is room for at least one packet; takes room for `most` at most.
    async fn room(&self, most: u32) -> Result<u32> {
        let one: OwnedSemaphorePermit = Arc::clone(&self.room).acquire_owned().await?;
        one.forget();
        let mut taken = 1;
        while taken < most
            && let Ok(more) = self.room.try_acquire()
        {
            more.forget();
            taken += 1;
        }
        Ok(taken)
    }

    /// Packets were received and acknowledged.
    fn handled(&self, packets: usize) {
        self.room.add_permits(packets);
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Cli { packets, size, in_flight, peer } = Cli::parse();
    if packets == 0 || in_flight == 0 {
        bail!("expected --packets and --in-flight of 1 or more");
    }
    let load = Arc::new(Load {
        packets,
        data: vec![b'x'; size],
        room: Arc::new(Semaphore::new(usize::try_from(in_flight)?)),
    });
    let began = match peer {
        Peer::Nats { edge, hub } => nats::run(&edge, &hub, &load).await?,
        Peer::Redis { url } => redis_streams::run(&url, &load).await?,
        Peer::Mosquitto { edge_port, hub_port } => {
            mosquitto::run(edge_port, hub_port, &load).await?
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    println!("{{\"handled_per_second\": {:.0}}}", packets as f64 / seconds);
    Ok(())
}
