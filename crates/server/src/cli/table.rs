//! Tables of text for terminals and files: columns that fit, cells that wrap.

/// Lays out rows under a head, with columns of these widths (in characters) and two spaces between.
pub(super) fn table(head: &[&str], widths: &[usize], rows: &[Vec<String>]) -> String {
    let mut lines = vec![line(head, widths), line(&widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>(), widths)];
    for row in rows {
        let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let parts: Vec<&str> = cells.iter().map(|cell| cell.get(at).map_or("", String::as_str)).collect();
            lines.push(line(&parts, widths));
        }
    }
    lines.join("\n")
}

/// A table whose columns are as wide as their content, the last one without a limit.
pub(super) fn fitted(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].chars().count()]).max().unwrap_or(0).min(60)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    table(head, &widths, rows)
}

/// Breaks a text into lines of at most `width` characters, at spaces where there are some. Control
/// characters become spaces, so that no text can move the cursor.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + letters.len() > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for part in letters.chunks(width) {
            if used + part.len() > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.extend(part);
            used += part.len();
        }
    }
    lines.push(line);
    lines
}

fn line<S: AsRef<str>>(cells: &[S], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = cell.as_ref();
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_keeps_every_letter_and_the_width() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("ab abcdefghij k", 4), ["ab", "abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("a\u{1b}[2Jb\tc\nd", 20), ["a [2Jb c d"]);
    }

    #[test]
    fn a_table_is_as_wide_as_its_columns() {
        let rows = vec![vec!["é".to_owned(), "long text here".to_owned()]];
        assert_eq!(table(&["A", "B"], &[3, 9], &rows), "A    B\n---  ---------\né    long text\n     here");
    }
}
