//! A destination: a plain HTTP/1.1 server in the test, which takes down what it is sent and answers
//! by a rule that the test may change at any time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub data: String,
    pub at: Instant,
}

impl Parcel {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn target(&self) -> &str {
        self.header("paquebot-target")
    }

    pub fn attempt(&self) -> u32 {
        self.header("paquebot-attempt").parse().unwrap()
    }
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    With(u16, &'static str, &'static str),
    After(Duration, u16),
    /// The connection stays open and silent.
    Never,
    /// The connection ends without an answer.
    HangUp,
}

pub type Rule = Box<dyn FnMut(&Parcel) -> Answer + Send>;

pub struct Destination {
    pub port: u16,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    rule: Rule,
    parcels: Vec<Parcel>,
    accepted: Vec<Parcel>,
    under_way: BTreeMap<String, usize>,
    most_of_a_target: usize,
    most: usize,
}

impl Destination {
    /// One that answers 200.
    pub fn start() -> Self {
        Self::start_at(0)
    }

    pub fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Shared {
            rule: Box::new(|_| Answer::Status(200)),
            parcels: Vec::new(),
            accepted: Vec::new(),
            under_way: BTreeMap::new(),
            most_of_a_target: 0,
            most: 0,
        }));
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = Arc::clone(&served);
                // It ends with the connection.
                std::thread::spawn(move || serve(stream.unwrap(), &served));
            }
        });
        Self { port, shared }
    }

    /// From now on answers are given by `rule`.
    pub fn answer(&self, rule: impl FnMut(&Parcel) -> Answer + Send + 'static) {
        self.shared.lock().unwrap().rule = Box::new(rule);
    }

    /// Every request so far.
    pub fn parcels(&self) -> Vec<Parcel> {
        self.shared.lock().unwrap().parcels.clone()
    }

    /// The data of all requests that were answered with 2xx, by target and in their order.
    pub fn accepted(&self) -> BTreeMap<String, Vec<String>> {
        let mut accepted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for parcel in &self.shared.lock().unwrap().accepted {
            accepted.entry(parcel.target().to_owned()).or_default().push(parcel.data.clone());
        }
        accepted
    }

    /// The most requests that were under way at once: of one target, and of all.
    pub fn most_at_once(&self) -> (usize, usize) {
        let shared = self.shared.lock().unwrap();
        (shared.most_of_a_target, shared.most)
    }
}

fn serve(stream: TcpStream, shared: &Mutex<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(parcel) = read(&mut stream) {
        let target = parcel.target().to_owned();
        let answer = shared.lock().unwrap().begin(&parcel);
        if let Answer::After(time, _) = answer {
            std::thread::sleep(time);
        }
        let (status, header, body) = match answer {
            Answer::Status(status) | Answer::After(_, status) => (status, "", ""),
            Answer::With(status, header, body) => (status, header, body),
            // Whoever asked goes away first.
            Answer::Never => {
                drop(stream.read(&mut [0]));
                return shared.lock().unwrap().end(&target);
            }
            Answer::HangUp => return shared.lock().unwrap().end(&target),
        };
        let mut guard = shared.lock().unwrap();
        guard.end(&target);
        if (200..300).contains(&status) {
            guard.accepted.push(parcel);
        }
        drop(guard);
        let length = body.len();
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{header}\r\n{body}");
        if stream.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

impl Shared {
    fn begin(&mut self, parcel: &Parcel) -> Answer {
        self.parcels.push(parcel.clone());
        let of_target = self.under_way.entry(parcel.target().to_owned()).or_default();
        *of_target += 1;
        self.most_of_a_target = self.most_of_a_target.max(*of_target);
        self.most = self.most.max(self.under_way.values().sum());
        (self.rule)(parcel)
    }

    fn end(&mut self, target: &str) {
        *self.under_way.get_mut(target).unwrap() -= 1;
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Parcel> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let at = Instant::now();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut data = vec![0; length];
    stream.read_exact(&mut data).ok()?;
    let data = String::from_utf8_lossy(&data).into_owned();
    Some(Parcel { line: line.trim_end().to_owned(), headers, data, at })
}
