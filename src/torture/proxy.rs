//! The proxy: one bad network for each client, between it and the server.
//!
//! Each connection has a script; when it is calm nothing new happens to a connection, but what has
//! stalled for ever stays so, because finding that is up to the client's ping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use paquebot_actors::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::plan::stream;
use super::script::{Course, Script, Wound, WoundKind};
use super::stage::Stage;
use super::tally;
use crate::exit::{Code, Failure};

/// What passes at once.
const CHUNK_BYTES: usize = 32 * 1024;

/// "For ever": far longer than either side may be silent; then the socket is given back.
const FOREVER: Duration = Duration::from_secs(120);

/// How long a server that is away is tried.
const CONNECT: Duration = Duration::from_secs(1);

/// Listens for one client; gives the address.
pub(super) async fn start(
    stage: Arc<Stage>,
    client: u64,
    server: SocketAddr,
) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(Failure::of(Code::Io, "the proxy"))?;
    let address = listener.local_addr().map_err(Failure::of(Code::Io, "the proxy"))?;
    tokio::spawn(async move {
        for at in 0.. {
            // A client that is killed while it connects is no reason to end.
            let Ok((socket, _)) = listener.accept().await else { continue };
            let script = Script::draw(stage.seed, client, at);
            let chance = stream(stage.seed, "bits", client << 32 | at);
            tokio::spawn(relay(Arc::clone(&stage), socket, server, script, chance));
        }
    });
    Ok(address)
}

/// The connection ended with a reset.
struct Reset;

async fn relay(
    stage: Arc<Stage>,
    mut client: TcpStream,
    server: SocketAddr,
    script: Script,
    mut chance: Rng,
) {
    stage.tally.one(tally::CONNECTIONS);
    let refused = script.refused && stage.storms();
    if refused {
        stage.tally.one(tally::CUT_AT_ONCE);
    }
    let server = match timeout(CONNECT, TcpStream::connect(server)).await {
        Ok(Ok(server)) if !refused => server,
        _ => return reset(&client),
    };
    let mut server = server;
    // Bytes must travel when the script says so.
    drop(client.set_nodelay(true).and_then(|()| server.set_nodelay(true)));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = Pump::new(&stage, script.up, chance.fork());
    let down = Pump::new(&stage, script.down, chance);
    let both = tokio::try_join!(up.run(from_client, to_server), down.run(from_server, to_client));
    if both.is_err() {
        reset(&client);
        reset(&server);
    }
}

/// When the socket is dropped its peer sees a reset, not an end.
fn reset(socket: &TcpStream) {
    // A socket that is gone already needs none.
    drop(socket.set_zero_linger());
}

/// One direction.
struct Pump<'s> {
    stage: &'s Stage,
    course: Course,
    chance: Rng,
    began: Instant,
    passed: u64,
}

impl<'s> Pump<'s> {
    fn new(stage: &'s Stage, course: Course, chance: Rng) -> Self {
        Self { stage, course, chance, began: clock::instant(), passed: 0 }
    }

    async fn run(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Reset> {
        self.count_shape();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match self.wait_for_wound() {
                Some(wait) => timeout(wait, from.read(&mut chunk)).await,
                None => Ok(from.read(&mut chunk).await),
            };
            let length = match read {
                Ok(Ok(0)) => {
                    drop(to.shutdown().await);
                    return Ok(());
                }
                Ok(Ok(length)) => length,
                Ok(Err(_)) => return Err(Reset),
                Err(_) => 0,
            };
            let bytes = chunk.get_mut(..length).unwrap_or_default();
            let before = self.wound_within(length);
            let (before, after) = bytes.split_at_mut(before);
            self.pass(before, &mut to).await?;
            if let Some(wound) = self.due(after) {
                match wound.kind {
                    WoundKind::Fin => {
                        self.stage.tally.one(tally::CUT_FIN);
                        drop(to.shutdown().await);
                        return Ok(());
                    }
                    WoundKind::Reset => {
                        self.stage.tally.one(tally::CUT_RESET);
                        return Err(Reset);
                    }
                    WoundKind::Stall(time) => {
                        self.stage.tally.one(tally::STALL);
                        self.stage.storm(time).await;
                    }
                    WoundKind::StallForever => {
                        self.stage.tally.one(tally::STALL_FOREVER);
                        sleep(FOREVER).await;
                        return Err(Reset);
                    }
                    WoundKind::Flip => {
                        self.stage.tally.one(tally::FLIP);
                        if let Some(byte) = after.first_mut() {
                            *byte ^= 1 << self.chance.u8(..8);
                        }
                    }
                }
            }
            self.pass(after, &mut to).await?;
        }
    }

    /// How long to wait for bytes at most, because something is to happen even without any.
    fn wait_for_wound(&self) -> Option<Duration> {
        let wound = self.course.wound.filter(|wound| wound.kind != WoundKind::Flip)?;
        if !self.stage.storms() {
            return None;
        }
        Some(wound.after.saturating_sub(clock::instant().duration_since(self.began)))
    }

    /// How many of the next `length` bytes pass before the wound.
    fn wound_within(&self, length: usize) -> usize {
        let Some(wound) = self.course.wound else { return length };
        let left = wound.bytes.saturating_sub(self.passed);
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }

    /// The wound, when it falls now: before these bytes, or because it is time.
    fn due(&mut self, after: &[u8]) -> Option<Wound> {
        let wound = self.course.wound?;
        if !self.stage.storms() {
            // It was meant for the storm.
            self.course.wound = None;
            return None;
        }
        let late = clock::instant().duration_since(self.began) >= wound.after;
        if after.is_empty() && (wound.kind == WoundKind::Flip || !late) {
            return None;
        }
        self.course.wound.take()
    }

    async fn pass(
        &mut self,
        mut bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Reset> {
        while !bytes.is_empty() {
            let mut piece = bytes.len();
            if self.stage.storms() {
                self.stage.storm(self.course.delay).await;
                if self.passed < self.course.single_bytes {
                    piece = 1;
                }
                if let Some(rate) = self.course.bytes_per_second {
                    piece = piece.min(1_500);
                    let ms = (piece as u64 * 1_000).checked_div(rate).unwrap_or_default();
                    self.stage.storm(Duration::from_millis(ms)).await;
                }
            }
            let (now, rest) = bytes.split_at(piece);
            to.write_all(now).await.map_err(|_| Reset)?;
            self.passed += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn count_shape(&self) {
        let Course { single_bytes, delay, bytes_per_second, .. } = &self.course;
        if *single_bytes > 0 {
            self.stage.tally.one(tally::SPLIT);
        }
        if !delay.is_zero() || bytes_per_second.is_some() {
            self.stage.tally.one(tally::SLOW);
        }
    }
}
