//! Server-sent events, as far as a node sends them: lines in, blocks out; of `GET /v1/events`, events and cursors.

use waxwing_protocol::api::{Event, EventKind};

use crate::error::{Error, Result};

/// Longest line: a message of the largest size, with every byte of it escaped.
const LINE_MAX: usize = 8 * 1024 * 1024;

/// A stream's text on its way to events.
#[derive(Debug, Default)]
pub(super) struct Parser(Lines);

/// A stream's text on its way to blocks.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Bytes that have come.
    buffer: Vec<u8>,
    /// How many of them were read, and how many were searched for the end of a line.
    read: usize,
    searched: usize,
    block: Text,
}

/// The lines up to an empty one.
#[derive(Debug, Default)]
pub(crate) struct Text {
    id: Option<u64>,
    /// What it is.
    pub(crate) kind: String,
    /// What it says; empty of what only keeps the connection alive, or is a cursor.
    pub(crate) data: String,
}

/// What a block says.
#[derive(Debug)]
pub(super) enum Said {
    /// The stream is complete up to this cursor.
    Cursor(u64),
    /// Something happened.
    Event(Box<Event>),
}

impl Parser {
    /// Takes what has come.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.push(bytes)
    }

    /// The next thing said, if it has come whole.
    pub(super) fn next(&mut self) -> Result<Option<Said>> {
        while let Some(block) = self.0.next()? {
            if let Some(said) = block.said()? {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }
}

impl Lines {
    /// Takes what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        // Once for all the lines that came together.
        self.buffer.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > LINE_MAX && !self.buffer.contains(&b'\n') {
            return Err(Error::Incompatible("a line of the event stream has no end".to_owned()));
        }
        Ok(())
    }

    /// The next block, if it has come whole.
    pub(crate) fn next(&mut self) -> Result<Option<Text>> {
        while let Some(end) = self.end_of_line() {
            let line = std::str::from_utf8(self.buffer[self.read..end].trim_ascii_end());
            let line = line.map_err(|_| Error::Incompatible("the event stream is not text".to_owned()))?;
            (self.read, self.searched) = (end + 1, end + 1);
            if line.is_empty() {
                return Ok(Some(std::mem::take(&mut self.block)));
            }
            self.block.line(line);
        }
        Ok(None)
    }

    fn end_of_line(&mut self) -> Option<usize> {
        let end = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        if end.is_none() {
            self.searched = self.buffer.len();
        }
        end.map(|end| self.searched + end)
    }
}

impl Text {
    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.parse().ok(),
            "event" => self.kind = value.to_owned(),
            "data" => self.data.push_str(value),
            // Comments keep the connection alive; other fields are of later versions.
            _ => {}
        }
    }

    fn said(self) -> Result<Option<Said>> {
        // A later version's kind is passed over, not an error: its cursor still counts.
        let known = EventKind::ALL.iter().any(|kind| kind.as_str() == self.kind);
        if self.data.is_empty() || !known {
            return Ok(self.id.map(Said::Cursor));
        }
        let event = serde_json::from_str(&self.data);
        let event =
            event.map_err(|error| Error::Incompatible(format!("an event cannot be read: {error}")))?;
        Ok(Some(Said::Event(Box::new(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "id: 3\n\n: keepalive\n\nid: 4\nevent: system\ndata: {\"cursor\":4,\"at\":0,\"kind\":\
         \"system\",\"what\":\"started\"}\n\nid: 5\nevent: of_later\ndata: {}\n\nid:6\r\n\r\n";

    fn read(parser: &mut Parser) -> Vec<String> {
        std::iter::from_fn(|| parser.next().unwrap())
            .map(|said| match said {
                Said::Cursor(cursor) => format!("at {cursor}"),
                Said::Event(event) => format!("{} {}", event.cursor, event.body.kind().as_str()),
            })
            .collect()
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let whole = ["at 3", "4 system", "at 5", "at 6"];
        for size in [1, 2, 7, STREAM.len()] {
            let mut parser = Parser::default();
            let mut said = Vec::new();
            for part in STREAM.as_bytes().chunks(size) {
                parser.push(part).unwrap();
                said.extend(read(&mut parser));
            }
            assert_eq!(said, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for stream in [&b"event: system\ndata: {}\n\n"[..], b"data: \xff\n\n"] {
            let mut parser = Parser::default();
            parser.push(stream).unwrap();
            assert!(matches!(parser.next(), Err(Error::Incompatible(_))));
        }
        let mut parser = Parser::default();
        assert!(matches!(parser.push(&vec![b'x'; LINE_MAX + 1]), Err(Error::Incompatible(_))));
    }
}
