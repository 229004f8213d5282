//! The grammar of target ids and patterns, which targets a pattern takes, and which of two patterns
//! takes a target that both match (INTERFACE.md, section 1).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod common;

use std::cmp::Ordering;

use common::options::seeds_in;
use paquebot_protocol::route::RouteTable;
use paquebot_protocol::target::{TARGET_BYTES_MAX, TargetError};
use paquebot_protocol::{TargetId, TargetPattern};
use proptest::collection::vec;
use proptest::prelude::*;

fn target(text: &str) -> Result<TargetId, TargetError> {
    text.parse()
}

fn pattern(text: &str) -> Result<TargetPattern, TargetError> {
    text.parse()
}

/// What a pattern takes, said as plainly as possible.
fn reference_matches(pattern: &[String], target: &[String]) -> bool {
    match (pattern, target) {
        ([], []) => true,
        ([rest], [_, ..]) if rest == ">" => true,
        ([token, pattern @ ..], [found, target @ ..]) => {
            (token == "*" || token == found) && reference_matches(pattern, target)
        }
        _ => false,
    }
}

/// Tokens of so few kinds that patterns and targets meet.
fn tokens() -> impl Strategy<Value = Vec<String>> {
    vec("[ab]", 1..5)
}

/// A pattern that may well match `tokens`: some of them replaced by wildcards, or the end cut off.
fn pattern_tokens() -> impl Strategy<Value = Vec<String>> {
    let token = prop_oneof![3 => "[ab]", 2 => Just("*".to_owned())];
    (vec(token, 1..5), any::<bool>()).prop_map(|(mut tokens, rest)| {
        if let Some(last) = tokens.last_mut().filter(|_| rest) {
            ">".clone_into(last);
        }
        tokens
    })
}

fn parse_pattern(tokens: &[String]) -> TargetPattern {
    tokens.join(".").parse().expect("a pattern")
}

/// Every target of up to five tokens, one of which no pattern here names.
fn every_target() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..5 {
        let longer = |shorter: &Vec<String>| {
            ["a", "b", "c"].map(|token| [shorter.as_slice(), &[token.to_owned()]].concat())
        };
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().cloned());
    }
    all.split_off(1)
}

proptest! {
    #![proptest_config(seeds_in("tests/targets.regressions", 4))]

    #[test]
    fn a_pattern_matches_what_the_reference_says(pattern in pattern_tokens(), target in tokens()) {
        let id: TargetId = target.join(".").parse().expect("a target id");
        let expected = reference_matches(&pattern, &target);
        prop_assert_eq!(parse_pattern(&pattern).matches(&id), expected);
    }

    #[test]
    fn a_pattern_covers_another_when_every_target_of_that_is_its_own(
        pattern in pattern_tokens(),
        other in pattern_tokens(),
    ) {
        let targets = every_target();
        let mut of_other = targets.iter().filter(|target| reference_matches(&other, target));
        let expected = of_other.all(|target| reference_matches(&pattern, target));
        prop_assert_eq!(parse_pattern(&pattern).covers(&parse_pattern(&other)), expected);
    }

    #[test]
    fn precedence_is_a_strict_order_among_patterns_that_match_one_target(
        target in tokens(),
        patterns in vec(pattern_tokens(), 0..12),
    ) {
        let id: TargetId = target.join(".").parse().expect("a target id");
        let patterns: Vec<_> = patterns.iter().map(|tokens| parse_pattern(tokens)).collect();
        let matching: Vec<_> = patterns.iter().filter(|pattern| pattern.matches(&id)).collect();
        for a in &matching {
            for b in &matching {
                let order = a.by_specificity(b);
                prop_assert_eq!(order == Ordering::Equal, a == b);
                prop_assert_eq!(order, b.by_specificity(a).reverse());
                for c in &matching {
                    let chained = order == Ordering::Less && b.by_specificity(c) == Ordering::Less;
                    prop_assert!(!chained || a.by_specificity(c) == Ordering::Less);
                }
            }
        }
    }

    #[test]
    fn the_handler_of_the_most_specific_pattern_takes_the_packet(
        target in tokens(),
        patterns in vec(pattern_tokens(), 0..12),
    ) {
        let id: TargetId = target.join(".").parse().expect("a target id");
        let patterns: Vec<_> = patterns.iter().map(|tokens| parse_pattern(tokens)).collect();
        let numbered = patterns.iter().enumerate().filter(|(_, pattern)| pattern.matches(&id));
        // Of equal patterns the first keeps the target.
        let expected = numbered.min_by(|(_, a), (_, b)| a.by_specificity(b)).map(|(at, _)| at);
        let table = RouteTable::new(patterns.iter().cloned().zip(0..));
        prop_assert_eq!(table.find(&id), expected);
    }

    #[test]
    fn every_target_id_is_a_pattern_for_itself_and_nothing_else(target in tokens(), other in tokens()) {
        let (id, other) = (target.join("."), other.join("."));
        let exact = pattern(&id).expect("a pattern");
        prop_assert_eq!(exact.exact(), Some(id.parse().expect("a target id")));
        let matches = exact.matches(&other.parse().expect("a target id"));
        prop_assert_eq!(matches, id == other);
    }

    #[test]
    fn any_text_is_a_target_id_by_the_rules_alone(text in "(.|[.*>$]|\\PC){0,20}") {
        let bad = |c: char| c.is_control() || c.is_whitespace() || c == '*' || c == '>';
        let valid = !text.contains(bad) && text.split('.').all(|token| !token.is_empty());
        prop_assert_eq!(target(&text).is_ok(), valid);
        let texts = target(&text).map(|id| (id.as_str().to_owned(), id.to_string()));
        prop_assert!(texts.is_err() || texts == Ok((text.clone(), text)));
    }
}

#[test]
fn valid_target_ids() {
    for text in ["a", "orders", "orders.eu.new", "$sys.health", "ünï.✓", "a-b_c:d/e", "0.1.2"] {
        assert!(target(text).is_ok(), "{text:?}");
    }
}

#[test]
fn target_ids_with_each_kind_of_fault() {
    assert_eq!(target(""), Err(TargetError::Empty));
    for text in [".", ".a", "a.", "a..b"] {
        let found = text.to_owned();
        assert_eq!(target(text), Err(TargetError::EmptyToken { found }), "{text:?}");
    }
    for found in ['*', '>', ' ', '\t', '\n', '\0', '\u{7f}', '\u{85}', '\u{a0}', '\u{2003}'] {
        let text = format!("orders.e{found}u");
        let fault = Err(TargetError::Forbidden { found, text: text.clone() });
        assert_eq!(target(&text), fault, "{text:?}");
        assert_eq!(pattern(&text).map(|_| ()), fault.map(|_| ()), "{text:?}");
    }
}

#[test]
fn targets_have_up_to_255_bytes_and_characters_may_take_several() {
    let long = |bytes: usize| "é".repeat(bytes / 2) + &"a".repeat(bytes % 2);
    assert!(target(&long(TARGET_BYTES_MAX)).is_ok());
    assert!(pattern(&long(TARGET_BYTES_MAX)).is_ok());
    let found = TARGET_BYTES_MAX + 1;
    assert_eq!(target(&long(found)), Err(TargetError::TooLong { found }));
    assert_eq!(pattern(&long(found)).err(), Some(TargetError::TooLong { found }));
    assert_eq!(TARGET_BYTES_MAX, 255);
}

#[test]
fn only_a_first_token_that_begins_with_a_dollar_is_reserved() {
    let reserved = |text| target(text).map(|id| id.is_reserved());
    assert_eq!(reserved("$"), Ok(true));
    assert_eq!(reserved("$sys.a"), Ok(true));
    assert_eq!(reserved("a.$sys"), Ok(false));
    assert_eq!(reserved("a$"), Ok(false));
}

#[test]
fn valid_patterns_keep_their_text() {
    for text in ["a", "*", ">", "*.*", "a.*.b", "*.>", "a.>", "$sys.>"] {
        assert_eq!(pattern(text).map(|pattern| pattern.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn patterns_with_each_kind_of_fault() {
    assert_eq!(pattern("").err(), Some(TargetError::Empty));
    for text in [".", "a.", ".*", "a..>"] {
        let found = text.to_owned();
        assert_eq!(pattern(text).err(), Some(TargetError::EmptyToken { found }), "{text:?}");
    }
    for text in [">.a", "a.>.b", ">.>", ">.*"] {
        let found = text.to_owned();
        assert_eq!(pattern(text).err(), Some(TargetError::RestNotLast { found }), "{text:?}");
    }
    for text in ["a*", "*a.b", "a.**", "a>", "a.>b", ">>", "a.*>"] {
        let fault = pattern(text).err();
        assert!(matches!(fault, Some(TargetError::Forbidden { .. })), "{text:?}: {fault:?}");
    }
}

#[test]
fn a_pattern_with_a_wildcard_is_no_exact_target() {
    for text in ["*", ">", "a.*", "*.b", "a.>"] {
        assert_eq!(pattern(text).map(|pattern| pattern.exact()), Ok(None), "{text:?}");
    }
}

#[test]
fn literals_go_before_any_and_any_before_rest_from_the_left() {
    let ordered =
        ["a.b.c", "a.b.*", "a.b.>", "a.*.c", "a.*.>", "a.>", "*.b.c", "*.*.*", "*.>", ">"];
    let patterns = ordered.map(|text| pattern(text).expect("a pattern"));
    for (at, a) in patterns.iter().enumerate() {
        for (other, b) in patterns.iter().enumerate() {
            assert_eq!(a.by_specificity(b), at.cmp(&other), "{a} and {b}");
        }
    }
}
