//! Lines: cuts what is read into lines, without their ends, and bounds how long one may be.

use memchr::memchr;

/// What becomes of a line that is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LongLine {
    /// It becomes several.
    #[default]
    Split,
    /// What is too much of it is left out.
    Truncate,
}

/// How lines are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineOptions {
    /// The longest line, in bytes.
    pub bytes_max: usize,
    /// What becomes of a longer one.
    pub long: LongLine,
}

/// Where lines are cut, and what is left over of the last one.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    options: LineOptions,
    rest: Vec<u8>,
    /// How far what was read has been cut, from the beginning of the file.
    come: u64,
    /// The rest of a line that was too long is left out.
    skipping: bool,
}

impl Lines {
    /// Begins at an offset, perhaps within a line whose rest is left out.
    pub(super) fn new(options: LineOptions, come: u64, skipping: bool) -> Self {
        Self { options, rest: Vec::new(), come, skipping }
    }

    /// How far what was read has been cut: with it, and [`Lines::is_skipping`], one begins anew.
    pub(super) fn come(&self) -> u64 {
        self.come
    }

    /// Whether the rest of a line is being left out.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Where the next byte that is taken stands.
    pub(super) fn next(&self) -> u64 {
        self.come + self.rest.len() as u64
    }

    /// Takes what was read next, and gives each line with the offset at which it begins.
    pub(super) fn take(&mut self, read: &[u8], mut give: impl FnMut(&[u8], u64)) {
        let searched = self.rest.len();
        self.rest.extend_from_slice(read);
        let (mut at, mut from) = (0, searched);
        loop {
            let rest = self.rest.get(at..).unwrap_or_default();
            let end = memchr(b'\n', rest.get(from..).unwrap_or_default()).map(|end| from + end);
            from = 0;
            if self.skipping {
                at += end.map_or(rest.len(), |end| end + 1);
                self.skipping = end.is_none();
                if self.skipping {
                    break;
                }
                continue;
            }
            let begins = self.come + at as u64;
            match end {
                Some(end) if end <= self.options.bytes_max => {
                    let line = rest.get(..end).unwrap_or_default();
                    give(line.strip_suffix(b"\r").unwrap_or(line), begins);
                    at += end + 1;
                }
                None if rest.len() <= self.options.bytes_max => break,
                _ => {
                    let piece = boundary(rest, self.options.bytes_max);
                    give(rest.get(..piece).unwrap_or_default(), begins);
                    at += piece;
                    self.skipping = self.options.long == LongLine::Truncate;
                }
            }
        }
        self.rest.drain(..at);
        self.come += at as u64;
    }

    /// Nothing follows: gives the last line, if it was not ended.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&[u8], u64)) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() && !self.skipping {
            give(rest.strip_suffix(b"\r").unwrap_or(&rest), self.come);
        }
        self.come += rest.len() as u64;
    }
}

/// About `length`, but not within a character.
fn boundary(text: &[u8], length: usize) -> usize {
    let is_within =
        |at: &usize| text.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let boundary = (length.saturating_sub(3)..=length).rev().find(|at| !is_within(at));
    boundary.filter(|at| *at > 0).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(options: LineOptions, pieces: &[&str]) -> (Vec<(String, u64)>, Lines) {
        let (mut lines, mut found) = (Lines::new(options, 0, false), Vec::new());
        for piece in pieces {
            let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
            lines.take(piece.as_bytes(), |line, at| found.push((text(line), at)));
        }
        (found, lines)
    }

    const SPLIT: LineOptions = LineOptions { bytes_max: 8, long: LongLine::Split };
    const TRUNCATE: LineOptions = LineOptions { bytes_max: 8, long: LongLine::Truncate };

    #[test]
    fn lines_are_cut_wherever_reads_end() {
        let (found, lines) = cut(SPLIT, &["one\ntw", "o\r", "\n\nthree", "\n", "rest"]);
        let texts: Vec<_> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "", "three"]);
        assert_eq!(found.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [0, 4, 9, 10]);
        assert_eq!((lines.come(), lines.next()), (16, 20));
    }

    #[test]
    fn a_line_of_just_the_length_is_whole() {
        let (found, _) = cut(SPLIT, &["12345678", "\n", "x\n"]);
        assert_eq!(found, [("12345678".to_owned(), 0), ("x".to_owned(), 9)]);
    }

    #[test]
    fn a_long_line_becomes_several() {
        let (found, lines) = cut(SPLIT, &["123456789", "abcdefghij\n", "x\n"]);
        let texts: Vec<_> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["12345678", "9abcdefg", "hij", "x"]);
        assert_eq!(lines.come(), 22);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_kept() {
        let (found, lines) = cut(TRUNCATE, &["123456789", "abcdef", "ghij\n", "x\n"]);
        assert_eq!(found, [("12345678".to_owned(), 0), ("x".to_owned(), 20)]);
        assert!(!lines.is_skipping());
        let (_, lines) = cut(TRUNCATE, &["123456789abc"]);
        assert!(lines.is_skipping());
        let mut again = Lines::new(TRUNCATE, lines.come(), true);
        let mut found = Vec::new();
        again.take(b"rest\nnew\n", |line, at| found.push((line.to_vec(), at)));
        assert_eq!(found, [(b"new".to_vec(), 17)]);
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let (found, _) = cut(SPLIT, &["1234567\u{e4}bc\n"]);
        let texts: Vec<_> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["1234567", "\u{e4}bc"]);
    }

    #[test]
    fn the_last_line_is_given_when_nothing_follows() {
        let (_, mut lines) = cut(SPLIT, &["one\ntwo"]);
        let mut found = Vec::new();
        lines.finish(|line, at| found.push((line.to_vec(), at)));
        assert_eq!((found, lines.come()), (vec![(b"two".to_vec(), 4)], 7));
    }
}
