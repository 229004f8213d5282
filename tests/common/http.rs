//! A plain HTTP/1.1 client for the tests: one request at a time on a kept-alive connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(port: u16) -> Self {
        Self::try_open(port).expect("a listening port")
    }

    pub fn try_open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Posts one packet.
    pub fn post(&mut self, target: &str, data: &[u8], headers: &[(&str, &str)]) -> Reply {
        self.request("POST", &format!("/v1/packets/{target}"), data, headers)
    }

    /// Posts one packet; nothing when the connection breaks.
    pub fn try_post(&mut self, target: &str, data: &[u8]) -> Option<Reply> {
        self.try_request("POST", &format!("/v1/packets/{target}"), data, &[])
    }

    /// Posts lines of JSON.
    pub fn post_lines(&mut self, lines: &str) -> Reply {
        let headers = [("content-type", "application/x-ndjson")];
        self.request("POST", "/v1/packets", lines.as_bytes(), &headers)
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Reply {
        self.try_request(method, path, body, headers).expect("an answer")
    }

    pub fn try_request(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Option<Reply> {
        let length = body.len();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        request.push_str(&format!("content-length: {length}\r\n"));
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes).ok()?;
        self.read()
    }

    fn read(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some(Reply { status, headers, body })
    }
}

/// One GET on a connection of its own.
pub fn get(port: u16, path: &str) -> Reply {
    Connection::open(port).request("GET", path, &[], &[])
}

/// The same; nothing when nobody answers.
pub fn try_get(port: u16, path: &str) -> Option<Reply> {
    Connection::try_open(port)?.try_request("GET", path, &[], &[])
}
