//! The report: findings for people. What is well takes a line; the rest says what it means.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::finding::{Finding, Level};

const CHECK_WIDTH: usize = 14;
const LEVEL_WIDTH: usize = 8;

/// Prints to standard output: coloured when that is a terminal and `NO_COLOR` is not set.
pub(super) fn print(findings: &[Finding]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    write(findings, &mut out)?;
    out.flush()
}

fn write(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let mut subject = "";
    let bold = Style::new().bold();
    for finding in findings {
        if finding.subject != subject {
            subject = &finding.subject;
            writeln!(out, "{bold}{subject}{bold:#}")?;
        }
        let (word, style) = shown(finding.level);
        let Finding { check, found, meaning, .. } = finding;
        writeln!(out, "  {style}{word:<LEVEL_WIDTH$}{style:#} {check:<CHECK_WIDTH$} {found}")?;
        if finding.level > Level::Ok {
            writeln!(out, "  {:<LEVEL_WIDTH$} {:<CHECK_WIDTH$} → {meaning}", "", "")?;
        }
    }
    writeln!(out, "\n{}", summary(findings))
}

fn shown(level: Level) -> (&'static str, Style) {
    let plain = Style::new();
    match level {
        Level::Ok => ("ok", plain.fg_color(Some(AnsiColor::Green.into()))),
        Level::Note => ("note", plain.fg_color(Some(AnsiColor::Cyan.into()))),
        Level::Warning => ("warning", plain.bold().fg_color(Some(AnsiColor::Yellow.into()))),
        Level::Problem => ("problem", plain.bold().fg_color(Some(AnsiColor::Red.into()))),
    }
}

fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let many = |count, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    format!(
        "{}, {}, {}; {} as they should be.",
        many(problems, "problem"),
        many(warnings, "warning"),
        many(count(Level::Note), "note"),
        count(Level::Ok),
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn findings_stand_below_their_subject_and_what_is_well_is_short() {
        let findings = [
            Verdict::ok("it is there", "nothing to do").on("dir /a", "directory"),
            Verdict::problem("tmpfs at /a", "this is memory").on("dir /a", "file-system"),
            Verdict::note("none", "so what").on("clock", "time"),
        ];
        let mut out = anstream::StripStream::new(Vec::new());
        assert!(write(&findings, &mut out).is_ok());
        let text = String::from_utf8_lossy(&out.into_inner()).into_owned();
        let expected = "\
            dir /a\n\
            \x20 ok       directory      it is there\n\
            \x20 problem  file-system    tmpfs at /a\n\
            \x20                         → this is memory\n\
            clock\n\
            \x20 note     time           none\n\
            \x20                         → so what\n\
            \n\
            1 problem, 0 warnings, 1 note; 1 as they should be.\n";
        assert_eq!(text, expected);
    }
}
