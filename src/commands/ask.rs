//! Asking a person before something that cannot be undone.

use std::io::IsTerminal as _;

use super::Context;

/// What came of asking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answered {
    Yes,
    No,
    /// There is no terminal, or what is printed is for a program.
    Nobody,
}

/// Asks, if there is somebody to ask. The question names what yes means.
pub(super) fn ask(context: &Context, question: &str) -> Answered {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if context.output.is_json() || !terminal {
        return Answered::Nobody;
    }
    context.output.keep(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let yes = read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if yes { Answered::Yes } else { Answered::No }
}
