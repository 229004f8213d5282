//! Frames to test with: strategies for any of them, and one fixed example of each.

use paquebot_protocol::frame::{
    Ack, Dead, Hello, LaneOpened, Limits, OpenLane, Pause, RefuseRun, RefuseRunCode, Refused,
    RefusedCode, Skip, SkipReason, Welcome,
};
use paquebot_protocol::status::{LaneBacklog, Status};
use paquebot_protocol::{
    Chain, ClientId, Control, Frame, Lane, LedgerId, Number, SpoolId, TargetId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::packets::{OwnedPacket, Start, run};

/// Any frame.
pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let run = (any::<u64>(), any::<u32>(), run()).prop_map(|(lane, generation, run)| Frame::Run {
        lane: Lane(lane),
        generation,
        run,
    });
    prop_oneof![run, control().prop_map(Frame::Control)]
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        hello().prop_map(Control::Hello),
        welcome().prop_map(Control::Welcome),
        refused().prop_map(Control::Refused),
        vec(open_lane(), 0..4).prop_map(Control::OpenLane),
        vec(lane_opened(), 0..4).prop_map(Control::LaneOpened),
        skip().prop_map(Control::Skip),
        vec(ack(), 0..4).prop_map(Control::Ack),
        (lane(), number(), text()).prop_map(|(lane, number, reason)| Control::Dead(Dead {
            lane,
            numbers: vec![number],
            reason
        })),
        refuse_run().prop_map(Control::RefuseRun),
        (lane(), any::<u32>(), any::<u64>(), text()).prop_map(
            |(lane, generation, retry_after_ms, reason)| {
                Control::Pause(Pause { lane, generation, retry_after_ms, reason })
            }
        ),
        lane().prop_map(Control::Retire),
        status().prop_map(Control::Status),
        any::<u64>().prop_map(Control::Ping),
        any::<u64>().prop_map(Control::Pong),
        text().prop_map(Control::Bye),
    ]
}

/// A client's status.
pub(crate) fn status() -> impl Strategy<Value = Status> {
    let numbers = any::<[u64; 6]>();
    let options = (option::of(any::<u64>()), option::of(any::<u64>()));
    let texts = (option::of(text()), option::of(text()));
    let lane = (lane(), any::<[u64; 3]>()).prop_map(|(lane, [packets, bytes, oldest_age_ms])| {
        LaneBacklog { lane, packets, bytes, oldest_age_ms }
    });
    (numbers, any::<bool>(), options, texts, vec(lane, 0..4)).prop_map(
        |(numbers, whole, (disk_bytes, seconds_left), (full, last_error), lanes)| {
            let [clock_ms, backlog_packets, backlog_bytes, oldest_age_ms, file, max] = numbers;
            let (spool_file_bytes, spool_max_bytes) = (file, max);
            Status {
                clock_ms,
                whole,
                backlog_packets,
                backlog_bytes,
                oldest_age_ms,
                spool_file_bytes,
                spool_max_bytes,
                disk_bytes,
                seconds_left,
                full,
                last_error,
                lanes,
            }
        },
    )
}

fn lane() -> impl Strategy<Value = Lane> {
    any::<u64>().prop_map(Lane)
}

fn number() -> impl Strategy<Value = Number> {
    any::<u64>().prop_map(Number)
}

fn chain() -> impl Strategy<Value = Chain> {
    any::<u64>().prop_map(Chain)
}

fn text() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn spool() -> impl Strategy<Value = SpoolId> {
    any::<[u8; 16]>().prop_map(SpoolId)
}

fn target() -> impl Strategy<Value = TargetId> {
    "[a-zé$-]{1,8}(\\.[0-9A-Z_]{1,40}){0,4}".prop_map(|text| text.parse().expect("a target id"))
}

fn hello() -> impl Strategy<Value = Hello> {
    let client = "[A-Za-z0-9._-]{1,64}".prop_map(|text| text.parse::<ClientId>().expect("an id"));
    let versions = (any::<u32>(), spool(), option::of(spool()), any::<u64>(), any::<u64>());
    let texts = (client, option::of(text()), vec(text(), 0..3), text());
    (versions, texts).prop_map(
        |((version, spool, replaces, opened, nonce), (client, token, capabilities, program))| {
            Hello { version, spool, replaces, opened, nonce, client, token, capabilities, program }
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let limits = (any::<u32>(), any::<u64>(), any::<u32>());
    let ledger = any::<[u8; 16]>().prop_map(LedgerId);
    (any::<u32>(), ledger, any::<u64>(), limits, vec(text(), 0..3), text()).prop_map(
        |(
            version,
            ledger,
            opened,
            (frame_bytes_max, window_bytes, lanes_max),
            capabilities,
            program,
        )| {
            let limits = Limits { frame_bytes_max, window_bytes, lanes_max };
            Welcome { version, ledger, opened, limits, capabilities, program }
        },
    )
}

fn refused() -> impl Strategy<Value = Refused> {
    let code = prop::sample::select(vec![
        RefusedCode::Version,
        RefusedCode::Rekey,
        RefusedCode::Busy,
        RefusedCode::Stopping,
        RefusedCode::Superseded,
    ]);
    (code, text(), option::of(any::<u64>())).prop_map(|(code, message, retry_after_ms)| Refused {
        code,
        message,
        retry_after_ms,
    })
}

fn open_lane() -> impl Strategy<Value = OpenLane> {
    (lane(), any::<u32>(), target(), number(), number()).prop_map(
        |(lane, generation, target, first, next)| OpenLane {
            lane,
            generation,
            target,
            first,
            next,
        },
    )
}

fn lane_opened() -> impl Strategy<Value = LaneOpened> {
    let dead = vec(number(), 0..5);
    let counts = (any::<u64>(), any::<u64>());
    (lane(), any::<u32>(), number(), option::of(chain()), counts, dead).prop_map(
        |(lane, generation, cursor, chain, (window_bytes, skipped), dead)| LaneOpened {
            lane,
            generation,
            cursor,
            chain,
            window_bytes,
            dead,
            skipped,
        },
    )
}

fn skip() -> impl Strategy<Value = Skip> {
    let reason = prop::sample::select(vec![
        SkipReason::Expired,
        SkipReason::Evicted,
        SkipReason::Purged,
        SkipReason::Damaged,
        SkipReason::Refused,
    ]);
    (lane(), any::<u32>(), number(), number(), option::of(chain()), chain(), reason).prop_map(
        |(lane, generation, first, through, chain, chain_after, reason)| Skip {
            lane,
            generation,
            first,
            through,
            chain,
            chain_after,
            reason,
        },
    )
}

fn ack() -> impl Strategy<Value = Ack> {
    (lane(), number(), any::<u64>()).prop_map(|(lane, through, skipped)| Ack {
        lane,
        through,
        skipped,
    })
}

fn refuse_run() -> impl Strategy<Value = RefuseRun> {
    let codes = [RefuseRunCode::TooLarge, RefuseRunCode::Undecodable, RefuseRunCode::Forbidden];
    let code = prop::sample::select(codes.to_vec());
    (lane(), any::<u32>(), number(), number(), code).prop_map(
        |(lane, generation, first, through, code)| RefuseRun {
            lane,
            generation,
            first,
            through,
            code,
        },
    )
}

/// One frame of each kind, with its name.
pub(crate) fn examples() -> Vec<(&'static str, Frame)> {
    let (lane, generation) = (Lane(5), 2);
    let packets = [OwnedPacket::bare(b"one".to_vec()), OwnedPacket::bare(b"two".to_vec())];
    let run = Start::EXAMPLE.run_of(&packets);
    let mut examples = vec![("run", Frame::Run { lane, generation, run })];
    examples.extend(controls(lane, generation).map(|(name, it)| (name, Frame::Control(it))));
    examples
}

fn controls(lane: Lane, generation: u32) -> [(&'static str, Control); 15] {
    let (number, chain) = (Number(299), Chain(0x3333_3333_3333_3333));
    let hello = Hello {
        version: 1,
        spool: SpoolId([0x11; 16]),
        replaces: Some(SpoolId([0x44; 16])),
        opened: 3,
        nonce: 0x2222_2222_2222_2222,
        client: "till-17".parse().expect("a client id"),
        token: Some("secret".into()),
        capabilities: vec!["zstd".into()],
        program: "paquebot 0.1.0".into(),
    };
    let welcome = Welcome {
        version: 1,
        ledger: LedgerId([0x55; 16]),
        opened: 3,
        limits: Limits { frame_bytes_max: 4_194_304, window_bytes: 8_388_608, lanes_max: 64 },
        capabilities: Vec::new(),
        program: "paquebot 0.1.0".into(),
    };
    let (message, retry_after_ms) = ("full".into(), Some(1_000));
    let refused = Refused { code: RefusedCode::Busy, message, retry_after_ms };
    let target = "orders.eu".parse().expect("a target id");
    let open = OpenLane { lane, generation, target, first: Number(300), next: Number(302) };
    let (cursor, window_bytes, dead) = (number, 1_048_576, vec![Number(298)]);
    let chain = Some(chain);
    let opened = LaneOpened { lane, generation, cursor, chain, window_bytes, dead, skipped: 4 };
    let (first, through, chain_after) = (Number(300), Number(310), Chain(7));
    let reason = SkipReason::Expired;
    let skip = Skip { lane, generation, first, through, chain, chain_after, reason };
    let ack = Ack { lane, through: Number(302), skipped: 4 };
    let dead = Dead { lane, numbers: vec![number], reason: "no such order".into() };
    let refuse = RefuseRun { lane, generation, first, through, code: RefuseRunCode::TooLarge };
    let pause = Pause { lane, generation, retry_after_ms: 5_000, reason: "down".into() };
    [
        ("hello", Control::Hello(hello)),
        ("welcome", Control::Welcome(welcome)),
        ("refused", Control::Refused(refused)),
        ("open_lane", Control::OpenLane(vec![open])),
        ("lane_opened", Control::LaneOpened(vec![opened])),
        ("skip", Control::Skip(skip)),
        ("ack", Control::Ack(vec![ack])),
        ("dead", Control::Dead(dead)),
        ("refuse_run", Control::RefuseRun(refuse)),
        ("pause", Control::Pause(pause)),
        ("retire", Control::Retire(lane)),
        ("status", Control::Status(status_of(lane))),
        ("ping", Control::Ping(1)),
        ("pong", Control::Pong(1)),
        ("bye", Control::Bye("stopping".into())),
    ]
}

fn status_of(lane: Lane) -> Status {
    let (packets, bytes, oldest_age_ms) = (3, 612, 4_200);
    Status {
        clock_ms: 1_767_225_600_000,
        whole: true,
        backlog_packets: packets,
        backlog_bytes: bytes,
        oldest_age_ms,
        spool_file_bytes: 1_114_112,
        spool_max_bytes: 1 << 30,
        disk_bytes: Some(50 << 20),
        lanes: vec![LaneBacklog { lane, packets, bytes, oldest_age_ms }],
        ..Status::default()
    }
}
