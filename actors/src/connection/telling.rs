//! What the client tells its server of itself: how it is, as the lookout finds it, to a server that wants
//! to hear that.

use actix::{Context, Handler, Message};
use paquebot_protocol::Control;
use paquebot_protocol::status::{CAPABILITY, Status, Telling};

use super::Connection;
use crate::clock;

/// How the client is, with all lanes that hold packets.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Condition(pub Status);

/// What was told on this connection, and what there is to tell.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    /// Nothing when the server does not want to hear.
    telling: Option<Telling>,
    condition: Option<Status>,
    /// Why the connection before this one ended.
    last_loss: Option<String>,
}

impl Statuses {
    /// The server has said welcome, and what it can do.
    pub(super) fn welcomed(&mut self, capabilities: &[String]) {
        let wanted = capabilities.iter().any(|capability| capability == CAPABILITY);
        self.telling = wanted.then(Telling::default);
    }

    /// The connection ended.
    pub(super) fn lost(&mut self, why: &str) {
        self.telling = None;
        self.last_loss = Some(why.to_owned());
    }
}

impl Connection {
    /// Says how the client is, when there is news.
    pub(super) fn tell_status(&mut self) -> Result<(), String> {
        let statuses = &mut self.statuses;
        let (Some(telling), Some(condition)) = (&mut statuses.telling, &statuses.condition) else {
            return Ok(());
        };
        let mut status = condition.clone();
        status.clock_ms = clock::wall_ms();
        status.last_error = status.last_error.or_else(|| statuses.last_loss.clone());
        match telling.tell(clock::now(), status) {
            Some(status) => self.say(&[Control::Status(status)]),
            None => Ok(()),
        }
    }
}

impl Handler<Condition> for Connection {
    type Result = ();

    fn handle(&mut self, condition: Condition, ctx: &mut Context<Self>) {
        self.statuses.condition = Some(condition.0);
        self.gone.say_rest();
        if let Err(why) = self.tell_status() {
            self.lose(&why, None, ctx);
        }
    }
}
