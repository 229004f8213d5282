//! What was acknowledged is dropped before the spool takes another name, or hears of another ledger:
//! with a drop goes the server's count of skipped numbers, which says nothing under another name or in
//! another ledger (R7, R8).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use bytes::BytesMut;
use paquebot_actors::connection::{
    Connection, ConnectionOptions, ConnectionPorts, Priorities, SpoolTime,
};
use paquebot_actors::link::LinkBoard;
use paquebot_actors::meters::ClientMeters;
use paquebot_actors::persistence::{
    Doom, DropThrough, Expire, Forget, Prove, Read, Rekey, Remember,
};
use paquebot_protocol::codec::{decode_frame, encode_control, split_frame};
use paquebot_protocol::frame::{
    LaneOpened, Limits, PREAMBLE, Refused, RefusedCode, VERSION, Welcome,
};
use paquebot_protocol::outbox::Priority;
use paquebot_protocol::{Control, Frame, Lane, LedgerId, Millis, Number, SpoolId};
use paquebot_store::{Counts, Identity, LaneState, LaneTotals};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the store is told, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Drop(Number),
    Rekey,
    Remember(u8),
}

/// In the place of persistence.
struct Recorder(mpsc::Sender<Told>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

macro_rules! records {
    ($message:ty, $told:expr) => {
        impl Handler<$message> for Recorder {
            type Result = <$message as Message>::Result;

            fn handle(&mut self, message: $message, _: &mut Self::Context) {
                let told: fn(&$message) -> Option<Told> = $told;
                // The test may have heard enough.
                told(&message).into_iter().for_each(|told| drop(self.0.send(told)));
            }
        }
    };
}

records!(Read, |_| None);
records!(Prove, |_| None);
records!(Expire, |_| None);
records!(Forget, |_| None);
records!(Doom, |_| None);
records!(DropThrough, |drop| Some(Told::Drop(drop.through)));
records!(Rekey, |_| Some(Told::Rekey));
records!(Remember, |remember| Some(Told::Remember(remember.0.0[0])));

/// A server that lets the client in, and answers the opening of its lane with `then`, in one piece.
struct Server(TcpListener);

impl Server {
    fn serve(&self, ledger: u8, then: Control) {
        let (mut socket, _) = self.0.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.read_exact(&mut [0; PREAMBLE.len()]).unwrap();
        socket.write_all(&PREAMBLE).unwrap();
        let mut buffer = BytesMut::new();
        let Control::Hello(_) = hear(&mut socket, &mut buffer) else { panic!("no hello") };
        let limits = Limits { frame_bytes_max: 1 << 20, window_bytes: 1 << 20, lanes_max: 8 };
        let welcome = Welcome {
            version: VERSION,
            ledger: LedgerId([ledger; 16]),
            opened: 1,
            limits,
            capabilities: Vec::new(),
            program: String::new(),
        };
        say(&mut socket, &[Control::Welcome(welcome)]);
        let Control::OpenLane(lanes) = hear(&mut socket, &mut buffer) else { panic!("no lane") };
        let (lane, generation, cursor) = (lanes[0].lane, lanes[0].generation, Number(5));
        let (window_bytes, dead, skipped, chain) = (1 << 20, Vec::new(), 3, None);
        let opened = LaneOpened { lane, generation, cursor, chain, window_bytes, dead, skipped };
        say(&mut socket, &[Control::LaneOpened(vec![opened]), then]);
        // The client hangs up.
        while socket.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    }
}

fn hear(socket: &mut TcpStream, buffer: &mut BytesMut) -> Control {
    loop {
        if let Some(body) = split_frame(buffer, 1 << 20).unwrap() {
            match decode_frame(&body).unwrap() {
                Frame::Control(control) => return control,
                Frame::Run { .. } => continue,
            }
        }
        let mut some = [0; 4096];
        let read = socket.read(&mut some).unwrap();
        assert!(read > 0, "the client has gone");
        buffer.extend_from_slice(&some[..read]);
    }
}

fn say(socket: &mut TcpStream, controls: &[Control]) {
    let mut out = Vec::new();
    controls.iter().for_each(|control| encode_control(control, &mut out));
    socket.write_all(&out).unwrap();
}

/// A client of which packets 1 to 5 were acknowledged and 6 to 8 were not.
fn connect(servers: Vec<String>, store: &Addr<Recorder>) -> Addr<Connection> {
    let options = ConnectionOptions {
        client: "till-1".parse().unwrap(),
        servers,
        ping: PATIENCE,
        silence: PATIENCE,
        reconnect_initial: Duration::from_millis(1),
        reconnect_max: Duration::from_millis(2),
        now: SpoolTime(Arc::new(|| Millis(0))),
        separate_ledgers: true,
        priorities: Priorities(Arc::new(|_| Priority::Normal)),
    };
    let ports = ConnectionPorts {
        read: store.clone().recipient(),
        prove: store.clone().recipient(),
        drop_through: store.clone().recipient(),
        doom: store.clone().recipient(),
        expire: store.clone().recipient(),
        forget: store.clone().recipient(),
        rekey: store.clone().recipient(),
        remember: store.clone().recipient(),
    };
    let spool = SpoolId([1; 16]);
    let identity = Identity { spool, replaces: None, opened: 1, nonce: 1, ledger: None };
    let lane = LaneState {
        lane: Lane(1),
        target: "orders.new".parse().unwrap(),
        acked_through: Number(5),
        next: Number(9),
        pending_packets: 3,
        pending_bytes: 300,
        declared: 0,
        totals: LaneTotals::default(),
        skipped: 0,
        retiring: false,
    };
    let (meters, board) = (ClientMeters::new(8, Counts::default()), LinkBoard::default());
    Connection::new(options, ports, identity, vec![lane], meters, board).start()
}

/// What the store is told while a server says these things, one connection after another, each of them
/// from another ledger.
fn told(says: Vec<Control>, count: usize) -> Vec<Told> {
    let server = Server(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = server.0.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for (ledger, then) in (1..).zip(says) {
            server.serve(ledger, then);
        }
    });
    let (note, notes) = mpsc::channel();
    actix_rt::System::new().block_on(async {
        let store = Recorder(note).start();
        let _client = connect(vec![address], &store);
        let hear =
            move || (0..count).map(|_| notes.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>();
        actix_rt::task::spawn_blocking(hear).await.unwrap()
    })
}

#[test]
fn a_drop_goes_before_the_new_name() {
    let message = "a copy is at work".to_owned();
    let refused = Refused { code: RefusedCode::Rekey, message, retry_after_ms: None };
    let found = told(vec![Control::Refused(refused)], 3);
    assert_eq!(found, [Told::Remember(1), Told::Drop(Number(5)), Told::Rekey]);
}

#[test]
fn a_drop_goes_before_another_ledger() {
    let bye = || Control::Bye("the server is stopping".to_owned());
    let found = told(vec![bye(), bye()], 3);
    assert_eq!(found, [Told::Remember(1), Told::Drop(Number(5)), Told::Remember(2)]);
}
