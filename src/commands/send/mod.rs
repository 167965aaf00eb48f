//! `waxwing send`.

mod wait;

use std::io::{IsTerminal as _, Read};
use std::path::Path;

use data_encoding::BASE64;
use serde::Serialize;
use waxwing_client::api::{LinkState, MessageState, ReceiptWanted, SendAnswer, SendRequest};
use waxwing_protocol::limits;

use super::Context;
use crate::cli::{Send, Wanted};
use crate::failure::{Failure, Result};

/// What became of a send that was waited for.
#[derive(Serialize)]
struct Waited {
    #[serde(flatten)]
    sent: SendAnswer,
    /// Why it ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    waited_for: MessageState,
    reached: bool,
}

pub(crate) async fn run(context: &Context, arguments: Send) -> Result<()> {
    if arguments.text.is_none() && arguments.file.is_none() && std::io::stdin().is_terminal() {
        context.output.note("Reading the text from this terminal; Ctrl-D ends it.");
    }
    let (wanted, timeout) = (arguments.wait.map(Wanted::state), arguments.timeout);
    let request = request(context, arguments)?;
    let client = context.client()?;
    let sent = client.send(&request).await?;
    let Some(wanted) = wanted else {
        context.output.print(&sent, || people(&sent))?;
        note_link(context, sent.link);
        return Ok(());
    };
    let ended = wait::wait(&client, &sent, context.mesh.clone(), wanted, timeout).await?;
    let waited = ended.show(sent, wanted);
    context.output.print(&waited, || people(&waited.sent))?;
    if waited.reached { Ok(()) } else { Err(ended.failure(&waited.sent, wanted, timeout)) }
}

fn request(context: &Context, arguments: Send) -> Result<SendRequest> {
    let (body, body_base64) = body(arguments.text, arguments.file.as_deref())?;
    let meta =
        arguments.meta.into_iter().map(|(key, value)| (key, value.into())).collect::<serde_json::Map<_, _>>();
    // Nobody can wait for what nobody says.
    let reads = arguments.wait == Some(Wanted::Read);
    Ok(SendRequest {
        to: arguments.to,
        body,
        body_base64,
        priority: Some(arguments.priority),
        ttl: arguments.ttl,
        reply_to: arguments.reply_to,
        thread: arguments.thread,
        meta: (!meta.is_empty()).then_some(meta),
        from_app: arguments.app,
        client_message_id: arguments.id,
        receipt: if reads { Some(ReceiptWanted::Read) } else { arguments.receipt },
        mesh: context.mesh.clone(),
        ..SendRequest::default()
    })
}

fn people(sent: &SendAnswer) -> String {
    let duplicate = if sent.duplicate { " (accepted before)" } else { "" };
    format!("{} {}{duplicate}", sent.client_message_id, sent.state.as_str())
}

fn note_link(context: &Context, link: LinkState) {
    match link {
        LinkState::Up => {}
        LinkState::Down => {
            context.output.note(
                "The link to the broker is down. The message is on this disk, and goes when it is back.",
            );
        }
        LinkState::Stopped => {
            context.output.note("The link to the broker is stopped: see `waxwing node status`.");
        }
    }
}

/// What was given as text, in a file, or on stdin: as text if it can be, or as base64.
pub(super) fn body(text: Option<String>, file: Option<&Path>) -> Result<(Option<String>, Option<String>)> {
    let bytes = match (text, file) {
        (Some(text), _) => return Ok((Some(text), None)),
        (None, Some(path)) => {
            let cannot = |err| Failure::usage(format!("cannot read {}: {err}", path.display()));
            read(std::fs::File::open(path).map_err(cannot)?).map_err(cannot)?
        }
        (None, None) => read(std::io::stdin())
            .map_err(|err| Failure::usage(format!("cannot read the text from stdin: {err}")))?,
    };
    if bytes.len() > limits::BODY {
        return Err(Failure::usage(format!("a message has at most {} KiB", limits::BODY / 1024)));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(other) => (None, Some(BASE64.encode(other.as_bytes()))),
    })
}

/// All there is, up to just more than a message may have.
fn read(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limits::BODY as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_if_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        let content = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            body(None, Some(&path))
        };
        assert_eq!(content(b"hello\n").unwrap(), (Some("hello\n".to_owned()), None));
        assert_eq!(content(&[0xff, 0]).unwrap(), (None, Some("/wA=".to_owned())));
        assert_eq!(content(&vec![b'x'; limits::BODY + 1]).unwrap_err().exit(), 2);
        assert_eq!(body(None, Some(Path::new("/no/such/file"))).unwrap_err().exit(), 2);
    }
}
