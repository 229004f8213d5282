//! The routes of the torture: which targets there are, which handler takes them, and what is
//! promised of their packets.

/// What must become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum End {
    /// Its line is in the output of a handler `file`, once.
    File,
    /// The receiver of a handler `http` accepted it, at least once.
    Http,
    /// The handler `discard` counted it.
    Discard,
    /// It is a dead letter, and nothing else.
    Dead,
}

/// How long clients keep packets that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Until they are handled.
    Always,
    /// No longer than a time to live; what is gone by then is counted as expired.
    Briefly,
    /// No more than a share of the spool; the oldest make way, counted as evicted.
    Latest,
}

/// Some targets and their handler.
#[derive(Debug)]
pub(super) struct Route {
    /// The first token of its targets, and the handler's name.
    pub(super) name: &'static str,
    /// What becomes of its packets, when there is nothing wrong with them.
    pub(super) end: End,
    /// How long clients keep them.
    pub(super) keep: Keep,
    /// How many targets it has at each client.
    pub(super) targets: u64,
    /// How often it is chosen, compared with others.
    pub(super) weight: u32,
    /// The sizes of its packets, in bytes.
    pub(super) sizes: (u64, u64),
}

/// The route whose receiver refuses some packets for good.
pub(super) const POISON: &str = "poison";

const SMALL: (u64, u64) = (0, 4_000);
const MEDIUM: (u64, u64) = (1_000, 16_000);
const LARGE: (u64, u64) = (100 * 1024, 300 * 1024);

/// Every route.
pub(super) const ROUTES: &[Route] = &[
    Route {
        name: "orders",
        end: End::File,
        keep: Keep::Always,
        targets: 4,
        weight: 40,
        sizes: SMALL,
    },
    Route {
        name: "large",
        end: End::File,
        keep: Keep::Always,
        targets: 2,
        weight: 2,
        sizes: LARGE,
    },
    Route {
        name: "discarded",
        end: End::Discard,
        keep: Keep::Always,
        targets: 3,
        weight: 15,
        sizes: SMALL,
    },
    Route {
        name: "fast",
        end: End::Http,
        keep: Keep::Always,
        targets: 3,
        weight: 10,
        sizes: SMALL,
    },
    Route { name: "slow", end: End::Http, keep: Keep::Always, targets: 3, weight: 3, sizes: SMALL },
    Route {
        name: "failing",
        end: End::Http,
        keep: Keep::Always,
        targets: 2,
        weight: 4,
        sizes: SMALL,
    },
    Route {
        name: "hanging",
        end: End::Http,
        keep: Keep::Always,
        targets: 2,
        weight: 4,
        sizes: SMALL,
    },
    Route { name: POISON, end: End::Http, keep: Keep::Always, targets: 2, weight: 6, sizes: SMALL },
    Route {
        name: "brief",
        end: End::File,
        keep: Keep::Briefly,
        targets: 2,
        weight: 6,
        sizes: SMALL,
    },
    Route {
        name: "latest",
        end: End::File,
        keep: Keep::Latest,
        targets: 2,
        weight: 6,
        sizes: MEDIUM,
    },
    // No handler has it.
    Route {
        name: "nowhere",
        end: End::Dead,
        keep: Keep::Always,
        targets: 1,
        weight: 3,
        sizes: SMALL,
    },
];

impl Route {
    /// The target `at` of this route.
    pub(super) fn target(&self, at: u64) -> String {
        format!("{}.{at}", self.name)
    }

    /// The server's `[[server.handler]]` of this route; none where no handler is wanted.
    pub(super) fn handler(&self, receiver: &str) -> Option<String> {
        let name = self.name;
        let kind = match self.end {
            End::File => format!("kind = \"file\"\npath = \"{}\"\n", self.file()),
            End::Discard => "kind = \"discard\"\n".to_owned(),
            End::Http => format!(
                "kind = \"http\"\nurl = \"http://{receiver}/{name}\"\ntimeout = \"1 s\"\n\
                 rejected_statuses = [422]\n"
            ),
            End::Dead => return None,
        };
        let retry = match self.end {
            End::Discard => "",
            _ => "retry = { initial = \"20 ms\", max = \"500 ms\" }\n",
        };
        Some(format!(
            "[[server.handler]]\nname = \"{name}\"\ntargets = [\"{name}.>\"]\n{kind}{retry}"
        ))
    }

    /// The client's `[[client.policy]]` of this route; none where packets stay.
    pub(super) fn policy(&self) -> Option<String> {
        let rule = match self.keep {
            Keep::Always => return None,
            Keep::Briefly => "ttl = \"1 s\"",
            Keep::Latest => "when_full = \"drop-oldest\"\nmax_bytes = \"64 KiB\"",
        };
        Some(format!("[[client.policy]]\ntargets = [\"{}.>\"]\n{rule}\n", self.name))
    }

    /// The output of a route that ends in a file.
    pub(super) fn file(&self) -> String {
        format!("{}.ndjson", self.name)
    }
}

/// The route of a target.
pub(super) fn of(target: &str) -> Option<&'static Route> {
    let name = target.split('.').next()?;
    ROUTES.iter().find(|route| route.name == name)
}
