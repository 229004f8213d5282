//! Target ids and target patterns: what a packet is addressed to, and what a handler takes.
//!
//! Decides which texts are valid and which of two patterns is the more specific. Never decides
//! which handler gets a packet: that is `route`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest target id, in bytes: it must fit a database key and a line of a log.
pub const TARGET_BYTES_MAX: usize = 255;

/// Why a text is not a target id or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The text has no bytes at all.
    #[error("expected 1 to {TARGET_BYTES_MAX} bytes, found none")]
    Empty,
    /// The text is longer than [`TARGET_BYTES_MAX`].
    #[error("expected at most {TARGET_BYTES_MAX} bytes, found {found}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// Two dots in a row, or one at an end.
    #[error("expected tokens separated by single dots, found an empty token in {found:?}")]
    EmptyToken {
        /// The whole text.
        found: String,
    },
    /// A character that may not stand in a target.
    #[error("expected no white space, control character or wildcard, found {found:?} in {text:?}")]
    Forbidden {
        /// The character.
        found: char,
        /// The whole text.
        text: String,
    },
    /// `>` stands before the end of a pattern.
    #[error("expected '>' only as the last token, found it earlier in {found:?}")]
    RestNotLast {
        /// The whole text.
        found: String,
    },
}

/// The address of a packet: 1 to 255 bytes of UTF-8, tokens separated by dots.
///
/// A first token that begins with `$` is the program's own; [`TargetId::is_reserved`] tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(Arc<str>);

impl TargetId {
    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tokens between the dots.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether the id belongs to the program itself, so that no source may use it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl FromStr for TargetId {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        check_length(text)?;
        for token in text.split('.') {
            check_token(token, text)?;
        }
        Ok(Self(text.into()))
    }
}

/// One token of a pattern. The order of the variants is the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    Literal(Box<str>),
    Any,
    Rest,
}

/// What a handler takes: `*` stands for one token, a last `>` for one or more.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetPattern {
    tokens: Vec<Token>,
}

impl TargetPattern {
    /// Whether packets to `target` belong to this pattern.
    #[must_use]
    pub fn matches(&self, target: &TargetId) -> bool {
        let mut tokens = target.tokens();
        for token in &self.tokens {
            match (token, tokens.next()) {
                (_, None) => return false,
                (Token::Rest, Some(_)) => return true,
                (Token::Any, Some(_)) => {}
                (Token::Literal(literal), Some(found)) if **literal == *found => {}
                (Token::Literal(_), Some(_)) => return false,
            }
        }
        tokens.next().is_none()
    }

    /// Whether every target that `other` matches belongs to this pattern, too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.tokens.iter();
        for token in &self.tokens {
            match (token, others.next()) {
                (_, None) => return false,
                (Token::Rest, Some(_)) => return true,
                (Token::Any, Some(Token::Literal(_) | Token::Any)) => {}
                (Token::Literal(ours), Some(Token::Literal(theirs))) if ours == theirs => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// The one target that it matches, when it has no wildcard.
    #[must_use]
    pub fn exact(&self) -> Option<TargetId> {
        let literal = |token: &Token| match token {
            Token::Literal(text) => Some(text.to_string()),
            Token::Any | Token::Rest => None,
        };
        let tokens: Option<Vec<_>> = self.tokens.iter().map(literal).collect();
        tokens.map(|tokens| TargetId(tokens.join(".").into()))
    }

    /// Orders patterns so that the most specific comes first: literal before `*` before `>`,
    /// from the left. Two patterns that match one target are never equal unless they are the same.
    #[must_use]
    pub fn by_specificity(&self, other: &Self) -> Ordering {
        let class = |token: &Token| match token {
            Token::Literal(_) => 0_u8,
            Token::Any => 1,
            Token::Rest => 2,
        };
        let ours = self.tokens.iter().map(class);
        ours.cmp(other.tokens.iter().map(class)).then_with(|| self.tokens.cmp(&other.tokens))
    }
}

impl FromStr for TargetPattern {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        check_length(text)?;
        let last = text.split('.').count() - 1;
        let mut tokens = Vec::with_capacity(last + 1);
        for (at, token) in text.split('.').enumerate() {
            tokens.push(match token {
                "*" => Token::Any,
                ">" if at == last => Token::Rest,
                ">" => return Err(TargetError::RestNotLast { found: text.to_owned() }),
                literal => {
                    check_token(literal, text)?;
                    Token::Literal(literal.into())
                }
            });
        }
        Ok(Self { tokens })
    }
}

fn check_length(text: &str) -> Result<(), TargetError> {
    match text.len() {
        0 => Err(TargetError::Empty),
        1..=TARGET_BYTES_MAX => Ok(()),
        found => Err(TargetError::TooLong { found }),
    }
}

fn check_token(token: &str, text: &str) -> Result<(), TargetError> {
    if token.is_empty() {
        return Err(TargetError::EmptyToken { found: text.to_owned() });
    }
    let forbidden = |c: &char| c.is_control() || c.is_whitespace() || matches!(c, '*' | '>');
    match token.chars().find(forbidden) {
        Some(found) => Err(TargetError::Forbidden { found, text: text.to_owned() }),
        None => Ok(()),
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetId({})", self.0)
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, token) in self.tokens.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            let text = match token {
                Token::Literal(text) => text,
                Token::Any => "*",
                Token::Rest => ">",
            };
            write!(f, "{dot}{text}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetPattern({self})")
    }
}

impl Serialize for TargetId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TargetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
