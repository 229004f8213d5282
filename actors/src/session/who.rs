//! Who came in: the session's words about a client that the ledger has admitted (R7).

use std::net::SocketAddr;

use paquebot_protocol::frame::Hello;
use paquebot_store::Known;

use crate::roster::SessionFacts;

/// Says that a client is connected, and what is remarkable about its spool.
pub(super) fn tell(hello: &Hello, peer: SocketAddr, known: &Known) {
    let Hello { client, spool, opened, program, .. } = hello;
    tracing::info!(%client, %peer, %spool, opened, program, "connected");
    match known {
        Known::Before => {}
        Known::Not => tracing::info!(%client, %spool,
            "this ledger has not seen this spool before: a new client, one whose directory was \
             removed, or one that comes from another ledger"),
        Known::As(before) => tracing::warn!(%client, %before, %spool,
            "the client was renamed: its spool came under another `client.id` before; packets and \
             numbers stay, rights go by the new name"),
        Known::InPlaceOf(before) => tracing::error!(%client, %spool, %before,
            "this spool takes the place of one that is on record: it is a copy of it, or was \
             restored; packets may be handled twice, none is lost"),
    }
}

/// Says that another spool of the same client id is connected, too.
pub(super) fn tell_of_twin(hello: &Hello, peer: SocketAddr, twin: &SessionFacts) {
    let Hello { client, spool, .. } = hello;
    tracing::warn!(%client, %peer, %spool, other_spool = twin.spool, other_peer = twin.address,
        "two spools of one client id are on the air at once: two machines with one `client.id`, or a \
         copy of a machine? Both deliver everything, but they share a name and its rights");
}
