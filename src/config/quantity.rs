//! A number and a unit, as in `10 s` or `1.5 GiB`.
//!
//! Decides the grammar that sizes and durations share: digits, perhaps a fraction, at most one
//! space, a unit spelled exactly. Never guesses: a bare number, a sign, an exponent or another
//! spelling of a unit is an error, and nothing is rounded.

/// Digits after the point beyond which nothing can still be a whole byte or millisecond.
const FRACTION_DIGITS_MAX: usize = 18;

/// A unit and what it is worth in the smallest one.
pub(super) type Unit = (&'static str, u64);

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}{reason}")]
pub struct QuantityError {
    /// What stands here: a size or a duration, with its units.
    pub expected: &'static str,
    /// The whole text.
    pub found: String,
    /// What is wrong with it.
    pub reason: QuantityFault,
}

/// What is wrong with a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityFault {
    /// It does not begin with digits, with a fraction or without.
    #[error(": it does not begin with a number")]
    NoNumber,
    /// A bare number.
    #[error(": it has no unit")]
    NoUnit,
    /// What follows the number is none of the units.
    #[error(": its unit is none of these")]
    UnknownUnit,
    /// Part of a byte or of a millisecond.
    #[error(": it is not a whole number of the smallest unit")]
    NotWhole,
    /// More than the program can count.
    #[error(": it is too large")]
    TooLarge,
}

/// Reads `text` as a quantity in the smallest of `units`, at most `max`.
pub(super) fn parse(text: &str, units: &[Unit], max: u64) -> Result<u64, QuantityFault> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("0", rest),
    };
    if whole.is_empty() || fraction.is_empty() {
        return Err(QuantityFault::NoNumber);
    }
    if rest.trim_start_matches(' ').is_empty() {
        return Err(QuantityFault::NoUnit);
    }
    let name = rest.strip_prefix(' ').unwrap_or(rest);
    let found = units.iter().find(|(unit, _)| *unit == name);
    let (_, worth) = found.ok_or(QuantityFault::UnknownUnit)?;
    let value = scaled(whole, fraction, *worth)?;
    if value > max { Err(QuantityFault::TooLarge) } else { Ok(value) }
}

/// Writes `value` in the largest unit that leaves a whole number.
pub(super) fn words(value: u64, units: &[Unit]) -> String {
    let exact = |unit: &&Unit| value >= unit.1 && value.is_multiple_of(unit.1);
    let largest = units.iter().filter(exact).max_by_key(|unit| unit.1);
    match largest.or(units.first()) {
        Some((name, worth)) => format!("{} {name}", value / worth),
        None => value.to_string(),
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn scaled(whole: &str, fraction: &str, worth: u64) -> Result<u64, QuantityFault> {
    let whole: u64 = whole.parse().map_err(|_| QuantityFault::TooLarge)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > FRACTION_DIGITS_MAX {
        return Err(QuantityFault::NotWhole);
    }
    let value = whole.checked_mul(worth).ok_or(QuantityFault::TooLarge)?;
    if fraction.is_empty() {
        return Ok(value);
    }
    let parts: u128 = fraction.parse().map_err(|_| QuantityFault::NotWhole)?;
    // 18 digits and a `u64` need 124 bits, so neither product can overflow.
    let ten_to_the = fraction.bytes().fold(1_u128, |power, _| power.saturating_mul(10));
    let parts = parts.saturating_mul(u128::from(worth));
    if !parts.is_multiple_of(ten_to_the) {
        return Err(QuantityFault::NotWhole);
    }
    let parts = u64::try_from(parts / ten_to_the).map_err(|_| QuantityFault::TooLarge)?;
    value.checked_add(parts).ok_or(QuantityFault::TooLarge)
}
