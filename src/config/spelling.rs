//! What was probably meant by a word that nobody knows.
//!
//! Decides which known word is near enough to be worth a hint. Never decides to take it.

/// The similarity from which a hint helps more than it distracts; found by trial on slips such as
/// `data_dirs`, `pnig` and `max_byte`.
const NEAR: f64 = 0.7;

/// The known word nearest to `word`, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::normalized_damerau_levenshtein(word, known), known));
    let near = scored.filter(|(score, _)| *score >= NEAR);
    near.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, known)| known)
}

/// The hint that `word` may be meant.
pub(super) fn hint(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// Several words as one phrase: "a", "a or b", "a, b or c".
pub(super) fn one_of(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [word] => word.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
