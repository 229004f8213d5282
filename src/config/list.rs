//! The values of a list, as far as they are what they should be.
//!
//! Decides nothing; it lets good values be compared with others although a bad one stands among
//! them.

use super::document::Place;
use super::loading::Reported;

/// The good values of a list, and whether there were bad ones.
#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) items: Vec<Item<T>>,
    pub(super) missing: Option<Reported>,
}

/// A value of a list, with its key and place.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) value: T,
    pub(super) key: String,
    pub(super) place: Place,
}

impl<T> List<T> {
    /// A list of which nothing could be read.
    pub(super) fn missing(reported: Reported) -> Self {
        Self { missing: Some(reported), ..Self::default() }
    }

    /// All values, if all are what they should be.
    pub(super) fn into_values(self) -> Result<Vec<T>, Reported> {
        match self.missing {
            Some(reported) => Err(reported),
            None => Ok(self.items.into_iter().map(|item| item.value).collect()),
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), missing: None }
    }
}
