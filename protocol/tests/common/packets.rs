//! Packets, batches and runs to test with, and the strategies that make them.

use std::collections::BTreeMap;

use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{Batch, Chain, Lane, Meta, Number, Origin, Packet, Run, SpoolId, TargetId};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// The target that the rigs use for a lane.
pub(crate) fn target_of(lane: Lane) -> TargetId {
    format!("lane.{lane}").parse().expect("a target id")
}

/// A packet that owns what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedPacket {
    pub(crate) created_ms: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) ttl_ms: Option<u64>,
}

impl OwnedPacket {
    pub(crate) fn bare(data: Vec<u8>) -> Self {
        let (content_type, headers, traceparent) = (None, BTreeMap::new(), None);
        let (created_ms, ttl_ms) = (1_700_000_000_000, None);
        Self { created_ms, data, content_type, headers, traceparent, ttl_ms }
    }

    pub(crate) fn as_packet(&self) -> Packet<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let meta = Meta {
            content_type: self.content_type.as_deref(),
            headers: headers.collect(),
            traceparent: self.traceparent.as_deref(),
            ttl_ms: self.ttl_ms,
        };
        Packet { created_ms: self.created_ms, data: &self.data, meta }
    }
}

/// The packets as a source hands them over.
pub(crate) fn batch_of(packets: &[OwnedPacket]) -> Batch {
    let mut batch = Batch::with_capacity(packets.len(), 0);
    for packet in packets {
        batch.push(&packet.as_packet());
    }
    batch
}

/// Where a run begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) origin: Origin,
    pub(crate) first: Number,
    pub(crate) chain: Chain,
}

impl Start {
    pub(crate) const EXAMPLE: Self = Self {
        origin: Origin { spool: SpoolId([0x11; 16]), nonce: 0x2222_2222_2222_2222 },
        first: Number(300),
        chain: Chain(0x3333_3333_3333_3333),
    };

    /// The packets as one run.
    pub(crate) fn run_of(self, packets: &[OwnedPacket]) -> Run {
        let batch = batch_of(packets);
        let mut builder = RunBuilder::new(self.origin, self.first, self.chain, batch.bytes());
        assert_eq!(builder.fill(&batch, 0, usize::MAX), packets.len(), "no limit was given");
        builder.finish().expect("at least one packet")
    }
}

/// Small packets, with and without metadata.
pub(crate) fn packet() -> impl Strategy<Value = OwnedPacket> {
    let text = || "[ -~]{0,12}";
    let headers = btree_map(text(), text(), 0..3);
    let meta = (option::of(text()), headers, option::of(text()), option::of(any::<u64>()));
    (any::<u64>(), vec(any::<u8>(), 0..40), meta).prop_map(
        |(created_ms, data, (content_type, headers, traceparent, ttl_ms))| OwnedPacket {
            created_ms,
            data,
            content_type,
            headers,
            traceparent,
            ttl_ms,
        },
    )
}

/// One packet or several.
pub(crate) fn packets() -> impl Strategy<Value = Vec<OwnedPacket>> {
    vec(packet(), 1..20)
}

/// Beginnings of runs, whose integers take every length that MessagePack has.
pub(crate) fn start() -> impl Strategy<Value = Start> {
    let number = || (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift);
    (any::<[u8; 16]>(), number(), number(), number()).prop_map(|(spool, nonce, first, chain)| {
        let origin = Origin { spool: SpoolId(spool), nonce };
        Start { origin, first: Number(first.clamp(1, u64::MAX - 100)), chain: Chain(chain) }
    })
}

/// Runs.
pub(crate) fn run() -> impl Strategy<Value = Run> {
    (start(), packets()).prop_map(|(start, packets)| start.run_of(&packets))
}

/// A run's records.
pub(crate) fn records_of(run: &Run) -> Vec<(Number, Vec<u8>)> {
    run.records().map(|(number, record)| (number, record.to_vec())).collect()
}
