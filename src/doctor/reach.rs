//! Reach: whether the client's servers are there, and are servers of this protocol.
//!
//! Goes as far as the preamble. A hello would make the server end the session of the client that
//! runs at this moment, so none is said; the connection is closed after the first eight bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use paquebot_actors::clock;
use paquebot_protocol::frame::PREAMBLE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::finding::{Finding, Verdict};
use crate::config::{Address, Config};

/// How long each step may take: a name, a connection, the first bytes.
const STEP: Duration = Duration::from_secs(3);

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    let Some(client) = &config.client else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let verdict = Verdict::problem(format!("cannot use the network: {error}"), "try again");
            return findings.push(verdict.on("servers", "resolve"));
        }
    };
    runtime.block_on(async {
        let ask = |address: &Address| tokio::spawn(Reached::try_at(address.clone()));
        let asked: Vec<_> = client.servers.iter().map(ask).collect();
        for (address, asked) in client.servers.iter().zip(asked) {
            if let Ok(reached) = asked.await {
                findings.extend(reached.findings(&format!("server {address}")));
            }
        }
    });
    // A name server that does not answer must not hold up the report.
    runtime.shutdown_background();
}

/// How far it went.
#[derive(Debug)]
enum Reached {
    /// The name has no address.
    Nothing(io::Error),
    /// No address of these accepted.
    Names(Vec<SocketAddr>, io::Error),
    /// One accepted, so quickly.
    Connected(SocketAddr, Duration, Spoke),
}

/// What came back for the preamble.
#[derive(Debug, PartialEq, Eq)]
enum Spoke {
    /// The preamble.
    Paquebot,
    /// Something else.
    Other(Vec<u8>),
    /// Nothing, or the end.
    Nothing(String),
}

impl Reached {
    async fn try_at(address: Address) -> Self {
        let found = within(lookup_host((address.host(), address.port()))).await;
        let addresses: Vec<SocketAddr> = match found {
            Ok(found) => found.collect(),
            Err(error) => return Self::Nothing(error),
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &addresses {
            let start = clock::instant();
            match within(TcpStream::connect(*address)).await {
                Ok(stream) => {
                    return Self::Connected(*address, start.elapsed(), greet(stream).await);
                }
                Err(error) => last = error,
            }
        }
        if addresses.is_empty() { Self::Nothing(last) } else { Self::Names(addresses, last) }
    }

    fn findings(self, subject: &str) -> [Finding; 4] {
        let skipped = || Verdict::note("not tried", "the step before it failed");
        let done = "nothing has to be done";
        let [resolve, connect, protocol] = match self {
            Self::Nothing(error) => [
                Verdict::warning(
                    format!("its name has no address: {error}"),
                    "packets are kept until it has one; look at client.servers and at DNS",
                ),
                skipped(),
                skipped(),
            ],
            Self::Names(addresses, error) => [
                Verdict::ok(listed(&addresses), done),
                Verdict::warning(
                    format!("no connection: {error}"),
                    "packets are kept until it answers; is the server running, and does every \
                     firewall on the way let this port through?",
                ),
                skipped(),
            ],
            Self::Connected(address, took, spoke) => {
                let took = took.as_secs_f64() * 1_000.0;
                let connect = Verdict::ok(format!("connected in {took:.1} ms"), done);
                [Verdict::ok(listed(&[address]), done), connect, judge_spoken(spoke)]
            }
        };
        let meaning =
            "this version has none: whoever is on the way can read and change what is sent";
        let tls = Verdict::note("not configured", meaning);
        [
            resolve.on(subject, "resolve"),
            connect.on(subject, "connect"),
            protocol.on(subject, "protocol"),
            tls.on(subject, "tls"),
        ]
    }
}

fn judge_spoken(spoke: Spoke) -> Verdict {
    match spoke {
        Spoke::Paquebot => Verdict::ok(
            "it answered with the preamble",
            "a server of this protocol is there; whether it takes this client was not asked, because \
             that would end the session of a client that runs",
        ),
        Spoke::Other(bytes) => Verdict::problem(
            format!("it answered \"{}\"", bytes.escape_ascii()),
            "something else listens there, so no packet can ever be delivered; look at \
             client.servers, and for a proxy on the way",
        ),
        Spoke::Nothing(why) => Verdict::warning(
            format!("it accepted and then said nothing: {why}"),
            "a server that has all the connections it allows does this, and so does a proxy without \
             a server behind it, or a server of another protocol",
        ),
    }
}

async fn greet(mut stream: TcpStream) -> Spoke {
    let mut said = Vec::new();
    let exchange = async {
        stream.write_all(&PREAMBLE).await?;
        while PREAMBLE.starts_with(&said) && said.len() < PREAMBLE.len() {
            let mut bytes = [0; PREAMBLE.len()];
            let count = stream.read(&mut bytes).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            said.extend_from_slice(bytes.get(..count).unwrap_or_default());
        }
        Ok(())
    };
    let ended = within(exchange).await;
    match ended {
        _ if said.starts_with(&PREAMBLE) => Spoke::Paquebot,
        _ if !said.is_empty() => Spoke::Other(said),
        Ok(()) => Spoke::Nothing("no bytes".to_owned()),
        Err(error) => Spoke::Nothing(error.to_string()),
    }
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {STEP:?}"));
    timeout(STEP, step).await.unwrap_or_else(|_| Err(late()))
}

fn listed(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    format!("its address is {}", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn each_way_to_fail_has_its_level() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let error = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let connected = |spoke| Reached::Connected(address, Duration::ZERO, spoke);
        use Level::{Note, Ok, Problem, Warning};
        for (reached, levels) in [
            (Reached::Nothing(error()), [Warning, Note, Note, Note]),
            (Reached::Names(vec![address], error()), [Ok, Warning, Note, Note]),
            (connected(Spoke::Paquebot), [Ok, Ok, Ok, Note]),
            (connected(Spoke::Other(b"HTTP/1.1".to_vec())), [Ok, Ok, Problem, Note]),
            (connected(Spoke::Nothing("closed".into())), [Ok, Ok, Warning, Note]),
        ] {
            let found = format!("{reached:?}");
            assert_eq!(reached.findings("s").map(|finding| finding.level), levels, "{found}");
        }
    }
}
