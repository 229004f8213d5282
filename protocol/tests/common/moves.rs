//! What joins a pair, and the pieces of work that may be done next in it.

use std::collections::VecDeque;

use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Control, Frame};

/// What joins client and server at present.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) session: SessionId,
    pub(super) to_server: VecDeque<Frame>,
    pub(super) to_client: VecDeque<Control>,
    /// The client's socket takes no packets at present.
    pub(super) is_full: bool,
}

/// One piece of work that may be done next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Move {
    /// The first frames on their way arrive together.
    ToServer(usize),
    ToClient(usize),
    /// The client's store answers.
    ClientTask,
    CommitDrops,
    /// A look-up or an attempt goes on.
    ServerJob(usize),
    /// A session hears that its socket is dead.
    ServerNotices(SessionId),
}
