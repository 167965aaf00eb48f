//! Reading the recovery words: from a pipe, or from a terminal that does not show them. Never from arguments, which
//! everybody on the machine can read.

use std::io::{IsTerminal as _, Stdin, stdin};

use rustix::io::{Errno, read};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;
use waxwing_crypto::membership::RecoverySecret;
use zeroize::Zeroizing;

use super::{Context, stop};
use crate::failure::{Failure, Result};

/// How many there are.
const WORDS: usize = 24;
/// Nothing longer is read. The words have at most 24 times 9 bytes.
const MOST: usize = 1_024;

/// The words as they were typed or piped in, once they are recovery words at all.
pub(super) async fn recovery(context: &Context) -> Result<Zeroizing<String>> {
    let shown = if stdin().is_terminal() {
        let unshown = Unshown::begin()?;
        context.output.keep("Type the 24 recovery words, on as many lines as you like. They are not shown.");
        Some(unshown)
    } else {
        None
    };
    let (done, words) = oneshot::channel();
    let until_all = shown.is_some();
    // A thread of its own: a read from a terminal cannot be ended, and must not hold up the process's end.
    std::thread::spawn(move || done.send(all(until_all)));
    let words = tokio::select! {
        words = words => words.unwrap_or_else(|_| Err(Failure::failed("the words cannot be read"))),
        () = stop::asked()? => Err(Failure::failed("interrupted: nothing was changed")),
    };
    drop(shown);
    let words = words?;
    // A secret is made of them by the node; here they are only looked at for slips of the pen.
    drop(words.parse::<RecoverySecret>().map_err(Failure::recovery)?);
    Ok(words)
}

/// Everything there is; from a terminal, until there are enough words.
fn all(until_all: bool) -> Result<Zeroizing<String>> {
    let (stdin, mut bytes, mut length) = (stdin(), Zeroizing::new([0; MOST]), 0);
    while length < MOST {
        match read(&stdin, &mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(Failure::failed(format!("the words cannot be read: {error}"))),
        }
        if until_all
            && bytes[..length].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() >= WORDS
        {
            break;
        }
    }
    let text = std::str::from_utf8(&bytes[..length]).map_err(|_| Failure::usage("these are no words"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unshown {
    stdin: Stdin,
    before: Termios,
}

impl Unshown {
    fn begin() -> Result<Self> {
        let failed = |error: Errno| {
            Failure::failed(format!("the terminal cannot be told not to show the words: {error}"))
        };
        let stdin = stdin();
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Unshown {
    fn drop(&mut self) {
        // Nothing else can be done about it; the shell sets its terminal right itself.
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}
