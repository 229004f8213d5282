//! Redis streams: added to and consumed on one server, so that there is no hop.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};

use crate::Load;

const STREAM: &str = "bench";
const GROUP: &str = "handlers";

/// Packets of one pipeline, and of one read.
const GROUP_MAX: u32 = 1_000;

/// Runs the load; gives when it began.
pub async fn run(url: &str, load: &Arc<Load>) -> Result<Instant> {
    let client = redis::Client::open(url)?;
    let mut reading = client.get_multiplexed_async_connection().await?;
    let _: () = reading.xgroup_create_mkstream(STREAM, GROUP, "0").await?;
    let adding = client.get_multiplexed_async_connection().await?;
    let began = Instant::now();
    let adding = tokio::spawn(add(adding, Arc::clone(load)));
    let read = StreamReadOptions::default()
        .group(GROUP, "handler")
        .count(usize::try_from(GROUP_MAX)?)
        .block(5_000);
    let mut received = 0;
    while received < load.packets {
        let reply: StreamReadReply = reading.xread_options(&[STREAM], &[">"], &read).await?;
        let ids: Vec<String> =
            reply.keys.into_iter().flat_map(|key| key.ids).map(|entry| entry.id).collect();
        if ids.is_empty() {
            continue;
        }
        let mut done = redis::pipe();
        done.xack(STREAM, GROUP, &ids).ignore().xdel(STREAM, &ids).ignore();
        let _: () = done.query_async(&mut reading).await?;
        received += ids.len() as u64;
        load.handled(ids.len());
    }
    adding.await??;
    Ok(began)
}

async fn add(mut connection: MultiplexedConnection, load: Arc<Load>) -> Result<()> {
    let mut made = 0;
    while made < load.packets {
        let more = u64::from(load.room(GROUP_MAX).await?).min(load.packets - made);
        let mut pipeline = redis::pipe();
        for _ in 0..more {
            pipeline.xadd(STREAM, "*", &[("data", load.data.as_slice())]).ignore();
        }
        let _: () = pipeline.query_async(&mut connection).await?;
        made += more;
    }
    Ok(())
}
