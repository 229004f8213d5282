//! Mosquitto: QoS 1 to an edge broker, over a bridge to a hub, received there with QoS 1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use crate::Load;

const TOPIC: &str = "bench/0";

/// Publishes that wait for their PUBACK.
const INFLIGHT: u16 = 1_000;

/// Runs the load; gives when it began.
pub async fn run(edge_port: u16, hub_port: u16, load: &Arc<Load>) -> Result<Instant> {
    let (subscriber, mut received_from) = connect("handler", hub_port);
    subscriber.subscribe(TOPIC, QoS::AtLeastOnce).await?;
    while !matches!(received_from.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    let (publisher, mut published_by) = connect("source", edge_port);
    let acks = tokio::spawn(async move {
        loop {
            published_by.poll().await?;
        }
        #[allow(unreachable_code, reason = "gives the task its type")]
        anyhow::Ok(())
    });
    // The bridge connects by itself, and says nothing of it here.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let publishing = tokio::spawn(publish(publisher, Arc::clone(load)));
    let mut received = 0;
    while received < load.packets {
        if matches!(received_from.poll().await?, Event::Incoming(Packet::Publish(_))) {
            received += 1;
            load.handled(1);
        }
    }
    publishing.await??;
    acks.abort();
    Ok(began)
}

fn connect(name: &str, port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name, "127.0.0.1", port);
    options.set_inflight(INFLIGHT).set_clean_session(false).set_max_packet_size(1 << 20, 1 << 20);
    AsyncClient::new(options, 2 * usize::from(INFLIGHT))
}

async fn publish(publisher: AsyncClient, load: Arc<Load>) -> Result<()> {
    let mut made = 0;
    while made < load.packets {
        for _ in 0..load.room(100).await? {
            if made < load.packets {
                let data = load.data.clone();
                publisher.publish(TOPIC, QoS::AtLeastOnce, false, data).await?;
                made += 1;
            }
        }
    }
    Ok(())
}
