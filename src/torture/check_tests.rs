//! A checker must be able to fail: each promise is broken by hand once, and it is found.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::super::evidence::{Evidence, Seen, Sent, Stored, Visit};
use super::super::offence::Kind;
use super::super::route::End;
use super::check;

const FILE: &str = "orders.ndjson";

fn sent(target: &str, end: End, sequence: u64) -> Sent {
    let data = format!("packet {sequence}");
    let digest = xxh3_64(data.as_bytes());
    let (client, target) = ("client-1".into(), target.into());
    Sent { client, target, end, digest, bytes: data.len() as u64, writer: 1, sequence }
}

/// The id of a packet of a spool that has one lane a target at a time.
fn id(target: &str, lane: u64, number: u64) -> String {
    format!("{:032x}-{lane}-{number}", xxh3_64(target.as_bytes()))
}

fn stored(target: &str, end: End, number: u64) -> Stored {
    let id = id(target, 1, number);
    Stored { id, number, sent: sent(target, end, number) }
}

fn seen(stored: &Stored) -> Seen {
    let Stored { id, number, sent } = stored.clone();
    let Sent { client, target, digest, bytes, .. } = sent;
    Seen { id, client, target, number, digest, bytes }
}

fn visit(stored: &Stored, accepted: u64, rejected: u64) -> Visit {
    Visit { seen: seen(stored), accepted, rejected, times: accepted + rejected + 1 }
}

/// Five packets to a file, three over http of which the last is poison, and one to nobody: all is
/// as it has to be.
fn clean() -> Evidence {
    let to_file: Vec<_> = (1..=5).map(|number| stored("orders.0", End::File, number)).collect();
    let by_http: Vec<_> = (1..=2).map(|number| stored("poison.0", End::Http, number)).collect();
    let poison = stored("poison.0", End::Dead, 3);
    let unrouted = stored("nowhere.0", End::Dead, 1);
    let mut visits: Vec<_> = by_http.iter().map(|stored| visit(stored, 2, 0)).collect();
    visits.push(visit(&poison, 0, 1));
    Evidence {
        files: vec![(FILE.to_owned(), to_file.iter().map(seen).collect())],
        visits,
        dead: vec![seen(&poison), seen(&unrouted)],
        stored: [to_file, by_http, vec![poison, unrouted]].concat(),
        unknown: Vec::new(),
        complete: true,
    }
}

fn lines(evidence: &mut Evidence) -> &mut Vec<Seen> {
    &mut evidence.files[0].1
}

/// What is found after `harm` was done to clean evidence.
fn found(harm: impl FnOnce(&mut Evidence)) -> Vec<(Kind, u64)> {
    let mut evidence = clean();
    harm(&mut evidence);
    check(&evidence).counts().collect()
}

#[test]
fn clean_evidence_is_clean() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_lost_packet_is_found_at_every_end() {
    assert_eq!(found(|it| drop(lines(it).remove(2))), [(Kind::Lost, 1)]);
    assert_eq!(found(|it| it.visits[0].accepted = 0), [(Kind::Lost, 1)]);
    assert_eq!(found(|it| drop(it.dead.pop())), [(Kind::Lost, 1)]);
}

#[test]
fn a_packet_that_is_pending_when_draining_failed_is_not_called_lost() {
    let stuck = |it: &mut Evidence| {
        lines(it).pop();
        it.complete = false;
    };
    assert_eq!(found(stuck), []);
}

#[test]
fn a_packet_that_is_twice_in_a_file_is_found() {
    let again = |it: &mut Evidence| {
        let last = lines(it)[4].clone();
        lines(it).push(last);
    };
    assert_eq!(found(again), [(Kind::Twice, 1)]);
    let again = |it: &mut Evidence| it.dead.push(it.dead[0].clone());
    assert_eq!(found(again), [(Kind::Twice, 1)]);
}

#[test]
fn one_id_for_two_packets_is_found() {
    let reused = |it: &mut Evidence| {
        let mut other = it.stored[0].clone();
        other.sent.writer = 2;
        it.stored.push(other);
    };
    assert_eq!(found(reused), [(Kind::Twice, 1)]);
}

#[test]
fn disorder_is_found_in_files_and_at_receivers() {
    assert_eq!(found(|it| lines(it).swap(1, 2)), [(Kind::OutOfOrder, 1)]);
    assert_eq!(found(|it| it.visits.swap(0, 1)), [(Kind::OutOfOrder, 1)]);
}

#[test]
fn numbers_that_contradict_the_order_of_posting_are_found() {
    let contradicts = |it: &mut Evidence| it.stored[1].sent.sequence = 0;
    assert_eq!(found(contradicts), [(Kind::OutOfOrder, 1)]);
}

#[test]
fn wrong_data_and_wrong_names_are_found() {
    assert_eq!(found(|it| lines(it)[0].digest ^= 1), [(Kind::Changed, 1)]);
    assert_eq!(found(|it| it.visits[0].seen.bytes += 1), [(Kind::Changed, 1)]);
    assert_eq!(found(|it| it.dead[0].client = "client-2".into()), [(Kind::Changed, 1)]);
}

#[test]
fn what_got_no_answer_may_be_there_once_and_not_more_often() {
    let unanswered = stored("orders.0", End::File, 6);
    let with = |times: u64| {
        let unanswered = unanswered.clone();
        move |it: &mut Evidence| {
            it.unknown.push(unanswered.sent.clone());
            for number in 6..6 + times {
                let id = id("orders.0", 1, number);
                lines(it).push(Seen { id, number, ..seen(&unanswered) });
            }
        }
    };
    assert_eq!(found(with(0)), []);
    assert_eq!(found(with(1)), []);
    assert_eq!(found(with(2)), [(Kind::Invented, 1)]);
}

#[test]
fn what_nobody_sent_is_found() {
    let invented = |it: &mut Evidence| {
        let nobodys = seen(&stored("orders.0", End::File, 9));
        lines(it).push(nobodys);
    };
    assert_eq!(found(invented), [(Kind::Invented, 1)]);
}

#[test]
fn a_packet_at_another_end_than_its_own_is_found() {
    let handled_poison = |it: &mut Evidence| it.visits[2].accepted = 1;
    assert_eq!(found(handled_poison), [(Kind::Misplaced, 1)]);
    let dead_order = |it: &mut Evidence| {
        let first = lines(it)[0].clone();
        it.dead.push(first);
    };
    assert_eq!(found(dead_order), [(Kind::Misplaced, 1)]);
    let unanswered_dead = |it: &mut Evidence| {
        let unanswered = stored("orders.0", End::File, 6);
        it.dead.push(seen(&unanswered));
        it.unknown.push(unanswered.sent);
    };
    assert_eq!(found(unanswered_dead), [(Kind::Misplaced, 1)]);
}

#[test]
fn what_a_client_may_give_up_may_be_missing_and_nothing_else() {
    let gone = |target: &'static str| {
        move |it: &mut Evidence| it.stored.push(stored(target, End::File, 9))
    };
    assert_eq!(found(gone("brief.0")), []);
    assert_eq!(found(gone("latest.0")), []);
    assert_eq!(found(gone("orders.1")), [(Kind::Lost, 1)]);
}

#[test]
fn a_lane_that_follows_another_counts_anew() {
    let follows_at = |line: usize| {
        move |it: &mut Evidence| {
            let mut next = stored("orders.0", End::File, 6);
            (next.id, next.number) = (id("orders.0", 2, 1), 1);
            lines(it).insert(line, seen(&next));
            it.stored.push(next);
        }
    };
    assert_eq!(found(follows_at(5)), []);
    assert_eq!(found(follows_at(4)), [(Kind::OutOfOrder, 1)]);
}

#[test]
fn clients_do_not_share_an_order() {
    let other = |it: &mut Evidence| {
        let mut other = stored("orders.0", End::File, 1);
        (other.id, other.sent.client) = (id("other", 1, 1), Arc::from("client-2"));
        lines(it).push(seen(&other));
        it.stored.push(other);
    };
    assert_eq!(found(other), []);
}
