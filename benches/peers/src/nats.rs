//! NATS JetStream, edge to hub.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, External, Source, StorageType};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::Load;

const SUBJECT: &str = "bench.0";

/// What is received before an acknowledgement covers it.
const ACK_AFTER: u64 = 100;

/// Runs the load; gives when it began.
pub async fn run(edge: &str, hub: &str, load: &Arc<Load>) -> Result<Instant> {
    let edge = context(edge, "edge").await?;
    let hub = context(hub, "hub").await?;
    let stored = Config {
        name: "EDGE".into(),
        subjects: vec!["bench.>".into()],
        storage: StorageType::File,
        ..Config::default()
    };
    edge.create_stream(stored).await.map_err(|error| anyhow!("the edge's stream: {error}"))?;
    let external = External { api_prefix: "$JS.edge.API".into(), delivery_prefix: None };
    let source = Source { name: "EDGE".into(), external: Some(external), ..Source::default() };
    let sourced = Config {
        name: "HUB".into(),
        sources: Some(vec![source]),
        storage: StorageType::File,
        ..Config::default()
    };
    let stream = hub.create_stream(sourced).await.map_err(|error| anyhow!("the hub's: {error}"))?;
    let consumer = stream
        .create_consumer(pull::Config {
            durable_name: Some("handler".into()),
            ack_policy: AckPolicy::All,
            max_ack_pending: 100_000,
            ..pull::Config::default()
        })
        .await?;
    let began = Instant::now();
    let publishing = tokio::spawn(publish(edge, Arc::clone(load)));
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?;
    let (mut received, mut acked) = (0, 0);
    while received < load.packets {
        let message = messages.next().await.ok_or_else(|| anyhow!("the consumer ended"))??;
        received += 1;
        let last_of_group = received % ACK_AFTER == 0 || received == load.packets;
        if last_of_group || message.info().is_ok_and(|info| info.pending == 0) {
            message.ack().await.map_err(|error| anyhow!("acknowledging: {error}"))?;
            load.handled(usize::try_from(received - acked)?);
            acked = received;
        }
    }
    publishing.await??;
    Ok(began)
}

async fn context(url: &str, domain: &str) -> Result<Context> {
    Ok(jetstream::with_domain(async_nats::connect(url).await?, domain))
}

/// Publishes everything; every packet's "stored" is waited for, and not one by one.
async fn publish(edge: Context, load: Arc<Load>) -> Result<()> {
    let (pending, mut acks) = mpsc::unbounded_channel();
    let stored = tokio::spawn(async move {
        while let Some(ack) = acks.recv().await {
            let ack: async_nats::jetstream::context::PublishAckFuture = ack;
            ack.await.map_err(|error| anyhow!("publishing: {error}"))?;
        }
        anyhow::Ok(())
    });
    let data = Bytes::from(load.data.clone());
    let mut made = 0;
    while made < load.packets {
        for _ in 0..load.room(100).await? {
            if made < load.packets {
                let sent = edge.publish(SUBJECT, data.clone()).await;
                pending.send(sent.map_err(|error| anyhow!("publishing: {error}"))?)?;
                made += 1;
            }
        }
    }
    drop(pending);
    stored.await?
}
