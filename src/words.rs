//! Figures as people read them: a count with its noun, a size with the unit that fits it, and lists
//! whose columns stand below each other.

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// How many packets.
pub(crate) fn packets(number: u64) -> String {
    counted(number, "packet", "packets")
}

/// Bytes, with one decimal from a KiB on.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    match units.iter().rev().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
    }
}

/// A list whose columns are as wide as what stands in them; the last one goes on to the end.
#[derive(Debug)]
pub(crate) struct Columns<const N: usize> {
    heads: Option<[&'static str; N]>,
    widths: [usize; N],
}

impl<const N: usize> Columns<N> {
    pub(crate) fn new(heads: [&'static str; N]) -> Self {
        Self { heads: Some(heads), widths: heads.map(str::len) }
    }

    /// Some rows, below the heads when they are the first. A later page is no narrower.
    pub(crate) fn rows(&mut self, rows: &[[String; N]]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let heads = self.heads.take().map(|heads| self.line(&heads.map(str::to_owned)));
        heads.into_iter().chain(rows.iter().map(|row| self.line(row))).collect()
    }

    fn line(&self, row: &[String; N]) -> String {
        let cell = |(cell, width): (&String, &usize)| format!("{cell:<width$}");
        let cells: Vec<_> = row.iter().zip(&self.widths).map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_have_the_words_and_units_that_fit() {
        assert_eq!(
            [packets(0), packets(1), packets(1234)],
            ["0 packets", "1 packet", "1,234 packets"]
        );
        let sizes = [0, 1023, 1024, 1 << 20, 1 << 30, 3 << 39].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 GiB", "1.5 TiB"]);
    }

    #[test]
    fn columns_stand_below_each_other_and_the_last_has_no_end() {
        let mut list = Columns::new(["NAME", "N", "WHY"]);
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        assert_eq!(list.rows(&[]), "");
        let page = list.rows(&[row(["orders", "1", "a b"]), row(["ä", "20", ""])]);
        assert_eq!(page, "NAME    N   WHY\norders  1   a b\nä       20\n");
        assert_eq!(list.rows(&[row(["x", "3", "y"])]), "x       3   y\n", "a later page");
    }
}
