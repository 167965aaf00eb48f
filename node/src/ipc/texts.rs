//! Short texts that peers are shown: how long they may be, and what cannot be in them.

use waxwing_protocol::api::{Problem, ProblemCode};
use waxwing_protocol::limits;

use super::problem::Refused;

/// A text on one line.
pub(super) fn line(field: &str, text: Option<&String>, longest: usize) -> Result<(), Refused> {
    check(field, text, longest, |_| false)
}

/// A text that may go over several.
pub(super) fn lines(field: &str, text: Option<&String>, longest: usize) -> Result<(), Refused> {
    check(field, text, longest, |c| c == '\n' || c == '\t')
}

/// What something can do.
pub(super) fn capabilities(capabilities: Option<&Vec<String>>) -> Result<(), Refused> {
    let capabilities = capabilities.map(Vec::as_slice).unwrap_or_default();
    if capabilities.len() > limits::CAPABILITIES {
        return Err(malformed(format!("at most {} capabilities", limits::CAPABILITIES)));
    }
    if capabilities.iter().any(String::is_empty) {
        return Err(malformed("a capability is no empty text".to_owned()));
    }
    capabilities.iter().try_for_each(|text| line("a capability", Some(text), limits::WORD))
}

fn check(
    field: &str,
    text: Option<&String>,
    longest: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), Refused> {
    let Some(text) = text else { return Ok(()) };
    if text.len() > longest {
        return Err(malformed(format!("{field} is at most {longest} bytes")));
    }
    if text.chars().any(|c| c.is_control() && !allowed(c)) {
        return Err(malformed(format!("{field} has a control character in it")));
    }
    Ok(())
}

fn malformed(detail: String) -> Refused {
    Problem::new(ProblemCode::Malformed).detail(detail).into()
}
