//! Random bytes, for ids and nonces.

use crate::fault::Fault;

/// Random bytes for `what`.
pub(crate) fn bytes<const N: usize>(what: &str) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::Broken(format!("expected {what}, found {error}")))?;
    Ok(bytes)
}
