//! Small tables that can be shown as text or as HTML.

use std::fmt::Write as _;

/// Emphasis of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// No emphasis.
    #[default]
    Plain,
    /// Emphasis of a good result.
    Good,
    /// Emphasis of a bad result.
    Bad,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Text of the cell.
    pub text: String,
    /// Emphasis of the cell; visible on pages, not in text.
    pub tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

impl Cell {
    /// Makes a cell with emphasis.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

/// Alignment of the columns after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Right-aligned, for numbers.
    Numbers,
    /// Left-aligned, for words.
    Words,
}

/// A table with a title. Its first column names the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Title of the table.
    pub title: String,
    /// Column titles; may be empty.
    pub head: Vec<String>,
    /// Rows; each has as many cells as `head`, unless that is empty.
    pub rows: Vec<Vec<Cell>>,
    /// Alignment of the columns after the first.
    pub columns: Columns,
}

impl Grid {
    /// Makes a table of numbers with these column titles.
    pub fn numbers<const N: usize>(title: &str, head: [&str; N]) -> Self {
        let head = head.map(str::to_owned).into();
        Self { title: title.to_owned(), head, rows: Vec::new(), columns: Columns::Numbers }
    }

    /// Makes a table of names and their values, without column titles.
    pub fn words(title: &str) -> Self {
        Self { title: title.to_owned(), head: Vec::new(), rows: Vec::new(), columns: Columns::Words }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a row with a name and its value.
    pub fn fact(&mut self, name: &str, value: impl Into<Cell>) {
        self.rows.push(vec![name.into(), value.into()]);
    }

    /// The table as text for a terminal, with columns two spaces apart; empty if there are no rows.
    pub fn to_text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let head: Vec<Cell> = self.head.iter().cloned().map(Cell::from).collect();
        let mut widths = Vec::new();
        for row in self.rows.iter().chain([&head]) {
            widths.resize(widths.len().max(row.len()), 0);
            widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.text.chars().count()));
        }
        let mut text = format!("{}\n", self.title);
        for row in [&head].into_iter().filter(|head| !head.is_empty()).chain(&self.rows) {
            let mut line = String::from(" ");
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // The formatter counts characters; for the texts in reports that equals their width in a terminal.
                let _ = match (at, self.columns) {
                    (0, _) | (_, Columns::Words) => write!(line, " {:<width$} ", cell.text),
                    (_, Columns::Numbers) => write!(line, " {:>width$} ", cell.text),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The table as HTML; empty if there are no rows.
    pub fn to_html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let class = if self.columns == Columns::Numbers { "numbers" } else { "words" };
        let mut html = format!("<table class=\"{class}\">\n<caption>{}</caption>\n", escape(&self.title));
        if !self.head.is_empty() {
            let names = self.head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name)));
            let _ = writeln!(html, "<thead><tr>{}</tr></thead>", names.collect::<String>());
        }
        html.push_str("<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (at, cell) in row.iter().enumerate() {
                let text = escape(&cell.text);
                let _ = match (at, cell.tone) {
                    (0, _) => write!(html, "<th scope=\"row\">{text}</th>"),
                    (_, Tone::Plain) => write!(html, "<td>{text}</td>"),
                    (_, Tone::Good) => write!(html, "<td class=\"good\">{text}</td>"),
                    (_, Tone::Bad) => write!(html, "<td class=\"bad\">{text}</td>"),
                };
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody>\n</table>\n");
        html
    }
}

/// Escapes `text` for use in an HTML element or attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::numbers("Latency", ["", "p50", "p99"]);
        grid.row(["read".into(), "1 µs".into(), Cell::toned("20 µs", Tone::Bad)]);
        grid.row(["scan <all>".into(), "100 µs".into(), "2 ms".into()]);
        grid
    }

    #[test]
    fn text_is_in_columns() {
        assert_eq!(
            grid().to_text(),
            "Latency\n                 p50    p99\n  read          1 µs  20 µs\n  scan <all>  100 µs   2 ms\n"
        );
        assert_eq!(Grid::words("Nothing").to_text(), "");
    }

    #[test]
    fn nothing_in_a_page_is_taken_for_markup() {
        let html = grid().to_html();
        assert!(html.contains("<th scope=\"row\">scan &lt;all&gt;</th>"));
        assert!(html.contains("<td class=\"bad\">20 µs</td>"));
        assert_eq!(escape("<&>\"'"), "&lt;&amp;&gt;&quot;&#39;");
    }
}
