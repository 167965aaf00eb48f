//! Printing: for people, or with `--json` one document with a `schema` number. Data goes to stdout, the rest to stderr.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, UNIX_EPOCH};

use rustix::termios::tcgetwinsize;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;
use waxwing_client::Timestamp;

use crate::failure::{Failure, Result};

/// Version of every document that `--json` prints. Fields are only added under the same number.
const SCHEMA: u32 = 1;

/// Between two columns.
const GAP: &str = "  ";
/// No column is cut to less.
const NARROWEST: usize = 8;

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    #[serde(flatten)]
    data: &'a T,
}

#[derive(Serialize)]
struct Failed<'a> {
    error: &'a Failure,
}

impl Output {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether a program reads: then nobody can be asked.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person reads, who wants remarks.
    pub(crate) const fn is_for_people(self) -> bool {
        !self.json && !self.quiet
    }

    /// The command's result: the document, or what people read instead.
    pub(crate) fn print(self, data: &impl Serialize, people: impl FnOnce() -> String) -> Result<()> {
        self.line(data, people).map(drop)
    }

    /// One result of a stream of them. False when nobody reads any more.
    pub(crate) fn line(self, data: &impl Serialize, people: impl FnOnce() -> String) -> Result<bool> {
        let text = if self.json {
            let document = Document { schema: SCHEMA, data };
            serde_json::to_string(&document).map_err(|err| Failure::failed(err.to_string()))?
        } else {
            people()
        };
        write(io::stdout(), &text)
    }

    /// Something beside the data, for people only.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.keep(text);
        }
    }

    /// Something beside the data that people must see: it is not shown again.
    pub(crate) fn keep(self, text: &str) {
        if !self.json {
            // A note that cannot be shown must not fail the command.
            let _ = write(io::stderr(), text);
        }
    }

    /// How the command failed.
    pub(crate) fn failure(self, failure: &Failure) {
        let text = if self.json {
            let document = Document { schema: SCHEMA, data: &Failed { error: failure } };
            serde_json::to_string(&document).unwrap_or_default()
        } else {
            let hint = failure.next().map(|hint| format!("\n{}: {hint}", bold("next")));
            format!("{}: {}{}", bold("error"), escape(failure.message()), hint.unwrap_or_default())
        };
        let _ = write(io::stderr(), &text);
    }
}

/// Writes a line. A reader that has gone away has read enough, which is no failure: false says so.
fn write(mut to: impl io::Write, text: &str) -> Result<bool> {
    let text = text.trim_end_matches('\n');
    if text.is_empty() {
        return Ok(true);
    }
    match writeln!(to, "{text}").and_then(|()| to.flush()) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(err) => Err(Failure::failed(format!("cannot print: {err}"))),
    }
}

/// Emphasis on a terminal that wants it.
fn bold(text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    if plain || dumb || !io::stderr().is_terminal() {
        text.to_owned()
    } else {
        format!("\x1b[1m{text}\x1b[0m")
    }
}

/// A peer's text with everything escaped that could move the cursor, change what stands beside it, or hide: control
/// characters other than newline and tab, and the marks that turn the direction of writing.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let hides = matches!(c, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
        if (c.is_control() && c != '\n' && c != '\t') || turns || hides {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A peer's text that must stay on its line.
pub(crate) fn inline(text: &str) -> String {
    escape(text).replace('\n', "\\u{a}").replace('\t', "\\u{9}")
}

/// A moment as people read it, in UTC.
pub(crate) fn time(at: Timestamp) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(at.as_millis())) {
        // The formatter panics beyond the year 9999.
        Some(at) if at < UNIX_EPOCH + Duration::from_secs(253_402_300_800) => {
            humantime::format_rfc3339_seconds(at).to_string()
        }
        _ => "the end of time".to_owned(),
    }
}

/// Rows in columns, each as wide as its widest cell. On a terminal that is too narrow for them the widest are cut; what
/// goes into a file or a program never is.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    table_within(rows, columns())
}

/// How many columns standard output has, if it is a terminal.
fn columns() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn table_within(rows: &[Vec<String>], most: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let mut widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    if let Some(most) = most {
        narrow(&mut widths, most);
    }
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| fitted(cell, *width)).collect();
        cells.join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Takes from the widest columns what is too much for a line, as long as something is left of them.
fn narrow(widths: &mut [usize], most: usize) {
    let mut over =
        (widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)).saturating_sub(most);
    while over > 0
        && let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST)
    {
        *widest -= 1;
        over -= 1;
    }
}

/// A cell of this width: filled up, or cut and marked.
fn fitted(cell: &str, width: usize) -> String {
    let mut shown = cell.to_owned();
    if cell.width() > width {
        while shown.width() >= width.max(1) {
            shown.pop();
        }
        shown.push('…');
    }
    // By columns of the terminal, of which a character may take two or none.
    let missing = width.saturating_sub(shown.width());
    shown + &" ".repeat(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_cannot_move_the_cursor_or_turn_the_line() {
        assert_eq!(escape("a\x1b[2Jb\r\n\tc\u{202e}d\u{7f}"), "a\\u{1b}[2Jb\\u{d}\n\tc\\u{202e}d\\u{7f}");
        assert_eq!(escape("plain: äöü 漢字 🙂"), "plain: äöü 漢字 🙂");
    }

    #[test]
    fn times_are_utc_and_no_time_is_too_late() {
        assert_eq!(time(Timestamp::from_millis(1_764_547_200_123)), "2025-12-01T00:00:00Z");
        assert_eq!(time(Timestamp::from_millis(u64::MAX)), "the end of time");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "bb".into()], vec!["aaa".into(), "b".into()]];
        assert_eq!(table(&rows), "a    bb\naaa  b");
    }

    #[test]
    fn a_character_that_takes_two_columns_is_counted_as_two_and_one_that_takes_none_as_none() {
        let rows = [vec!["漢字".into(), "x".into()], vec!["e\u{301}a".into(), "x".into()]];
        assert_eq!(table_within(&rows, None), "漢字  x\ne\u{301}a    x");
    }

    #[test]
    fn a_table_fits_its_terminal_and_what_is_cut_is_marked() {
        let long = "a".repeat(30);
        let rows = [
            vec!["name".into(), long.clone(), "end".into()],
            vec!["漢字漢字漢字".into(), "b".into(), "end".into()],
        ];
        assert!(table_within(&rows, None).contains(&long));
        let narrow = table_within(&rows, Some(31));
        assert!(narrow.lines().all(|line| line.width() <= 31), "{narrow}");
        assert_eq!(narrow.matches('…').count(), 1, "{narrow}");
        assert!(narrow.lines().all(|line| line.ends_with("end")), "{narrow}");
        // Narrower than anything can be shown in: nothing is cut to nothing.
        let least = table_within(&rows, Some(3));
        assert!(least.contains("aaaaaaa…") && least.contains("漢字漢…"), "{least}");
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(write(&writer, "one").unwrap());
        drop(reader);
        assert!(!write(&writer, "two").unwrap());
    }

    #[test]
    fn a_document_carries_its_schema() {
        let data = serde_json::json!({"x": 1});
        let document = Document { schema: SCHEMA, data: &data };
        assert_eq!(serde_json::to_string(&document).unwrap(), r#"{"schema":1,"x":1}"#);
    }
}
