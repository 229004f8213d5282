//! Sizes and durations: one grammar for file, headers and queries.

use std::time::Duration;

use paquebot::config::{
    QuantityFault, duration_in_words, parse_duration, parse_size, size_in_words,
};
use proptest::prelude::*;

#[test]
fn a_size_is_a_number_and_a_unit() {
    for (text, bytes) in [
        ("0 B", 0),
        ("7B", 7),
        ("1 kB", 1_000),
        ("2MB", 2_000_000),
        ("3 GB", 3_000_000_000),
        ("1 KiB", 1_024),
        ("1.5 MiB", 1_572_864),
        ("0.25 GiB", 268_435_456),
        ("1.50 kB", 1_500),
        ("18446744073709551615 B", u64::MAX),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn a_duration_is_a_number_and_a_unit() {
    for (text, millis) in [
        ("100 ms", 100),
        ("10s", 10_000),
        ("5 min", 300_000),
        ("2h", 7_200_000),
        ("1 day", 86_400_000),
        ("0.5 s", 500),
        ("36500 day", 3_153_600_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn whatever_else_looks_like_a_size_is_an_error() {
    use QuantityFault::{NoNumber, NoUnit, NotWhole, TooLarge, UnknownUnit};
    for (text, reason) in [
        ("", NoNumber),
        ("MiB", NoNumber),
        ("-1 B", NoNumber),
        ("+1 B", NoNumber),
        (" 1 B", NoNumber),
        (".5 MiB", NoNumber),
        ("1. MiB", NoNumber),
        ("٣ B", NoNumber),
        ("10", NoUnit),
        ("10 ", NoUnit),
        ("10  B", UnknownUnit),
        ("10 B ", UnknownUnit),
        ("10\tB", UnknownUnit),
        ("1_0 B", UnknownUnit),
        ("1e3 B", UnknownUnit),
        ("1.2.3 MB", UnknownUnit),
        ("10 b", UnknownUnit),
        ("10 KB", UnknownUnit),
        ("10 kb", UnknownUnit),
        ("10 mib", UnknownUnit),
        ("10 M", UnknownUnit),
        ("10 TiB", UnknownUnit),
        ("10 s", UnknownUnit),
        ("0.5 B", NotWhole),
        ("1.0001 kB", NotWhole),
        ("0.0000000000000000001 GB", NotWhole),
        ("18446744073709551616 B", TooLarge),
        ("99999999999999999999 B", TooLarge),
        ("18446744073709551615 kB", TooLarge),
    ] {
        assert_eq!(parse_size(text).map_err(|error| error.reason), Err(reason), "{text:?}");
    }
}

#[test]
fn whatever_else_looks_like_a_duration_is_an_error() {
    use QuantityFault::{NoUnit, NotWhole, TooLarge, UnknownUnit};
    for (text, reason) in [
        ("10", NoUnit),
        ("0", NoUnit),
        ("10 sec", UnknownUnit),
        ("10 m", UnknownUnit),
        ("10 M", UnknownUnit),
        ("10 d", UnknownUnit),
        ("10 days", UnknownUnit),
        ("10 us", UnknownUnit),
        ("1h 5min", UnknownUnit),
        ("0.5 ms", NotWhole),
        ("36501 day", TooLarge),
    ] {
        assert_eq!(parse_duration(text).map_err(|error| error.reason), Err(reason), "{text:?}");
    }
}

#[test]
fn an_error_says_what_was_expected_and_found() {
    let error = parse_duration("10").unwrap_err().to_string();
    assert!(error.starts_with("expected a duration: a number and ms, s, min, h or day"), "{error}");
    assert!(error.ends_with("found \"10\": it has no unit"), "{error}");
}

proptest! {
    #[test]
    fn a_size_in_words_is_read_as_the_same_size(bytes: u64) {
        prop_assert_eq!(parse_size(&size_in_words(bytes)), Ok(bytes));
    }

    #[test]
    fn a_duration_in_words_is_read_as_the_same_duration(millis in 0..3_153_600_000_000_u64) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&duration_in_words(duration)), Ok(duration));
    }

    #[test]
    fn a_fraction_is_worth_what_it_says(whole in 0..1_000_u64, thousandths in 0..1_000_u64) {
        let text = format!("{whole}.{thousandths:03} kB");
        prop_assert_eq!(parse_size(&text), Ok(whole * 1_000 + thousandths));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[0-9.]{0,30} ?[a-zA-Z]{0,4}") {
        let _ = (parse_size(&text), parse_duration(&text));
    }
}
