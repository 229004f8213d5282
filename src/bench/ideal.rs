//! The ideal pipe: the plainest program that makes the same promise.
//!
//! The sender appends batches to a file, fdatasyncs, and writes them to a socket; the receiver reads
//! what has come, appends it to its file, fdatasyncs, and answers with a cumulative ack. There are no
//! ids, no lanes, no checksums, nothing is dropped, and a crash would not be recovered from: it is
//! what the disk and the wire allow, not something to use.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use hdrhistogram::Histogram;
use paquebot_actors::clock;
use serde_json::json;

use super::args::LoadArgs;
use super::child::Part;
use super::figures::Figures;
use super::load::{latencies, percentiles};
use super::pipe::load_arguments;
use super::usage::Usage;
use crate::exit::{Code, Failure};

/// What the receiver reads at once.
const READ_BYTES: usize = 1024 * 1024;

/// What the sender appends at once.
const BATCH_BYTES_MAX: u64 = 512 * 1024;

/// A batch and when it was made.
struct Sent {
    through: u64,
    packets: u64,
    made: Instant,
}

/// Starts both sides and reads their figures.
pub(super) fn measure(dir: &Path, load: LoadArgs) -> Result<Figures, Failure> {
    std::fs::create_dir_all(dir).map_err(failed("preparing"))?;
    let (to, from) = (dir.join("receiver.log"), dir.join("sender.log"));
    let arguments = ["bench-part", "ideal-receiver", "--file"].map(Into::into);
    let mut receiver =
        Part::start("ideal receiver", arguments.into_iter().chain([to.into_os_string()]))?;
    let address = receiver.line()?;
    let address = address.as_str().unwrap_or_default().to_owned();
    let mut arguments: Vec<std::ffi::OsString> =
        ["bench-part", "ideal-sender", "--to", &address, "--file"].map(Into::into).into();
    arguments.push(from.into_os_string());
    arguments.extend(load_arguments(load));
    let mut sender = Part::start("ideal sender", arguments)?;
    let figures = sender.line()?;
    let (receiver, sender) = (receiver.usage()?, sender.usage()?);
    let mut figures = Figures::read(&[figures])?;
    figures.set_usage((Usage::default(), Usage::default()), (receiver, sender));
    Ok(figures)
}

/// Starts an HTTP server that keeps nothing, and whoever posts to it.
pub(super) fn measure_http(load: LoadArgs) -> Result<Figures, Failure> {
    let mut server = Part::start("empty HTTP server", ["bench-part", "empty-http"])?;
    let address = server.line()?;
    let address = address.as_str().unwrap_or_default().to_owned();
    let mut arguments: Vec<std::ffi::OsString> =
        ["bench-part", "poster", "--to", &address].map(Into::into).into();
    arguments.extend(load_arguments(load));
    let mut poster = Part::start("poster", arguments)?;
    let mut figures = Figures::read(&[poster.line()?])?;
    figures.set_usage((Usage::default(), Usage::default()), (Usage::default(), server.usage()?));
    Ok(figures)
}

/// The receiving side: prints its address, then serves one sender.
pub(super) fn receive(file: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed("listening"))?;
    let address = listener.local_addr().map_err(failed("listening"))?;
    println!("{}", json!(address.to_string()));
    let (mut socket, _) = listener.accept().map_err(failed("accepting"))?;
    socket.set_nodelay(true).map_err(failed("setting TCP_NODELAY"))?;
    let mut log = File::create_new(file).map_err(failed("creating the file"))?;
    let mut buffer = vec![0; READ_BYTES];
    let mut received: u64 = 0;
    loop {
        let read = socket.read(&mut buffer).map_err(failed("reading"))?;
        if read == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        log.write_all(bytes).and_then(|()| log.sync_data()).map_err(failed("appending"))?;
        received += read as u64;
        socket.write_all(&received.to_be_bytes()).map_err(failed("answering"))?;
    }
}

/// The sending side: keeps `in_flight` packets under way, prints its figures.
pub(super) fn send(to: SocketAddr, file: &Path, load: LoadArgs) -> Result<(), Failure> {
    let mut socket = TcpStream::connect(to).map_err(failed("connecting"))?;
    socket.set_nodelay(true).map_err(failed("setting TCP_NODELAY"))?;
    let mut log = File::create_new(file).map_err(failed("creating the file"))?;
    let (batches, acked) = mpsc::channel::<Sent>();
    let (credit, room) = mpsc::channel::<u64>();
    let answers = socket.try_clone().map_err(failed("sharing the socket"))?;
    let listener = std::thread::spawn(move || listen(answers, &acked, &credit, load.packets));
    let mut stored_us = latencies();
    let packet: Vec<u8> = (0..load.size).map(|at| b'a' + (at % 26) as u8).collect();
    let began = clock::instant();
    let mut stored = began;
    let (mut made, mut sent_bytes) = (0, 0);
    let mut free = load.in_flight.min(load.packets);
    while made < load.packets {
        while let Ok(more) = room.try_recv() {
            free += more;
        }
        if free == 0 {
            free += room.recv().unwrap_or_default();
            continue;
        }
        let packets = free.min(load.packets - made).min(piece(load));
        let batch_made = clock::instant();
        let batch = packet.repeat(usize::try_from(packets).unwrap_or(usize::MAX));
        log.write_all(&batch).and_then(|()| log.sync_data()).map_err(failed("appending"))?;
        stored = clock::instant();
        let us = stored.duration_since(batch_made).as_micros();
        let _resized = stored_us.record_n(u64::try_from(us).unwrap_or(u64::MAX).max(1), packets);
        made += packets;
        free -= packets;
        sent_bytes += batch.len() as u64;
        // The listener ends only after the last ack.
        let _over = batches.send(Sent { through: sent_bytes, packets, made: batch_made });
        socket.write_all(&batch).map_err(failed("sending"))?;
    }
    let heard = listener
        .join()
        .unwrap_or_else(|_| Err(failed("listening")(std::io::ErrorKind::Other.into())));
    let (handled, handled_us) = heard?;
    let seconds = |until: Instant| until.duration_since(began).as_secs_f64();
    let figures = json!({
        "packets": made,
        "stored_seconds": seconds(stored),
        "handled_seconds": seconds(handled),
        "stored_us": percentiles(&stored_us),
        "handled_us": percentiles(&handled_us),
        "wire_bytes": sent_bytes,
        "spool_file_bytes": sent_bytes,
    });
    println!("{figures}");
    // The figures of this process are read while it lives; then it is stopped from outside.
    std::thread::park();
    Ok(())
}

/// The most packets of one batch: all that there is room for, up to the size of our longest run, so
/// that both pipes have work for every stage at once.
fn piece(load: LoadArgs) -> u64 {
    (BATCH_BYTES_MAX / load.size.max(1)).clamp(1, load.in_flight)
}

/// Hears acks and gives room back, until the last packet is acknowledged.
fn listen(
    mut socket: TcpStream,
    batches: &mpsc::Receiver<Sent>,
    credit: &mpsc::Sender<u64>,
    packets: u64,
) -> Result<(Instant, Histogram<u64>), Failure> {
    let mut handled_us = latencies();
    let mut waiting: Option<Sent> = None;
    let (mut acked_packets, mut ack) = (0, [0; 8]);
    loop {
        socket.read_exact(&mut ack).map_err(failed("reading an ack"))?;
        let (through, now) = (u64::from_be_bytes(ack), clock::instant());
        while let Some(sent) = waiting.take().or_else(|| batches.try_recv().ok()) {
            if sent.through > through {
                waiting = Some(sent);
                break;
            }
            let us = u64::try_from(now.duration_since(sent.made).as_micros()).unwrap_or(u64::MAX);
            let _resized = handled_us.record_n(us.max(1), sent.packets);
            acked_packets += sent.packets;
            // The sender may have sent everything already.
            let _over = credit.send(sent.packets);
        }
        if acked_packets == packets {
            return Ok((now, handled_us));
        }
    }
}

fn failed(doing: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
    Failure::of(Code::Io, doing)
}
