//! Kinds of values: what can be known of a field before there is an event.
//!
//! Decides which kinds each field can have. What JSON holds is not known, so it can be any of them.

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u16);

/// Each kind, with its words.
const WORDS: [(Kinds, &str); 10] = [
    (Kinds::TEXT, "a text"),
    (Kinds::WHOLE, "a whole number"),
    (Kinds::NATURAL, "a whole number without a sign"),
    (Kinds::POINT, "a number with a point"),
    (Kinds::BOOL, "true or false"),
    (Kinds::LIST, "a list"),
    (Kinds::MAP, "a map"),
    (Kinds::BYTES, "bytes"),
    (Kinds::OTHER, "something else"),
    (Kinds::NULL, "null"),
];

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(1 << 1);
    pub(super) const WHOLE: Self = Self(1 << 2);
    pub(super) const NATURAL: Self = Self(1 << 3);
    pub(super) const POINT: Self = Self(1 << 4);
    pub(super) const TEXT: Self = Self(1 << 5);
    pub(super) const BYTES: Self = Self(1 << 6);
    pub(super) const LIST: Self = Self(1 << 7);
    pub(super) const MAP: Self = Self(1 << 8);
    pub(super) const OTHER: Self = Self(1 << 9);
    pub(super) const JSON: Self = Self(
        Self::NULL.0
            | Self::BOOL.0
            | Self::WHOLE.0
            | Self::POINT.0
            | Self::TEXT.0
            | Self::LIST.0
            | Self::MAP.0,
    );
    pub(super) const ANY: Self = Self((1 << 10) - 1);

    /// What a field can hold. A name means the same at each kind of source that has it.
    pub(super) fn of_field(name: &str) -> Self {
        match name {
            "line" | "text" | "path" | "name" | "target" | "now" | "metric" | "state" => Self::TEXT,
            "size" | "offset" | "count" => Self::WHOLE,
            // There is none of a program that a signal ended.
            "exit_code" => Self::WHOLE.or(Self::NULL),
            "value" => Self::POINT.or(Self::NULL),
            "content_type" => Self::TEXT.or(Self::NULL),
            "headers" => Self::MAP,
            "json" => Self::JSON,
            _ => Self::ANY,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether they have one in common.
    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Each by itself.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..10).map(|bit| Self(1 << bit)).filter(move |kind| kind.meets(self))
    }

    /// For people.
    pub(super) fn in_words(self) -> String {
        let words: Vec<_> =
            WORDS.iter().filter(|(kind, _)| kind.meets(self)).map(|(_, words)| *words).collect();
        match words.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, before)) => format!("{} or {last}", before.join(", ")),
            None => "nothing".to_owned(),
        }
    }
}
