//! A network that cuts: it passes bytes on to a port of this machine, and ends each connection after
//! as many as its plan says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Cutter {
    pub port: u16,
    cut: Arc<AtomicUsize>,
}

impl Cutter {
    /// The n-th connection ends after the n-th number of bytes, both ways counted apart; later ones
    /// are left alone.
    pub fn start(to: u16, after_bytes: Vec<usize>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cut);
        std::thread::spawn(move || {
            let mut plan = after_bytes.into_iter();
            for near in listener.incoming() {
                let near = near.unwrap();
                // A server that is away: whoever called is hung up on, and that uses up no cut.
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let after = plan.next();
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let counted = Arc::clone(&counted);
                    std::thread::spawn(move || pass(&from, &into, after, &counted));
                }
            }
        });
        Self { port, cut }
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}

fn pass(mut from: &TcpStream, mut into: &TcpStream, after: Option<usize>, cut: &AtomicUsize) {
    let mut left = after.unwrap_or(usize::MAX);
    let mut bytes = vec![0; 4096];
    while left > 0 {
        let room = left.min(bytes.len());
        let read = match from.read(&mut bytes[..room]) {
            Ok(read) if read > 0 => read,
            _ => break,
        };
        if into.write_all(&bytes[..read]).is_err() {
            break;
        }
        left -= read;
    }
    if left == 0 {
        cut.fetch_add(1, Ordering::Relaxed);
    }
    // They may have ended already.
    drop(from.shutdown(Shutdown::Both));
    drop(into.shutdown(Shutdown::Both));
}
