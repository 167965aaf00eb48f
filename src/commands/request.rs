//! `waxwing request` and `waxwing reply`.

use std::io::IsTerminal as _;

use data_encoding::BASE64;
use waxwing_client::api::{CallAnswer, CallProgress, CallRequest, ReplyError, ReplyRequest};
use waxwing_client::{Client, Step};

use super::Context;
use super::send::body;
use crate::cli::{Reply, Request};
use crate::failure::Result;
use crate::output::{escape, inline};

pub(crate) async fn run(context: &Context, arguments: Request) -> Result<()> {
    if arguments.text.is_none() && arguments.file.is_none() {
        note_terminal(context);
    }
    let (body, body_base64) = body(arguments.text, arguments.file.as_deref())?;
    let meta: serde_json::Map<_, _> =
        arguments.meta.into_iter().map(|(key, value)| (key, value.into())).collect();
    let request = CallRequest {
        to: arguments.to,
        body,
        body_base64,
        content_type: arguments.content_type,
        meta: (!meta.is_empty()).then_some(meta),
        timeout: arguments.timeout,
        from_app: arguments.app,
        mesh: context.mesh.clone(),
        id: None,
    };
    let client = context.client()?;
    let answer = if arguments.progress {
        closely(context, &client, &request).await?
    } else {
        client.ask(&request).await?
    };
    context.output.print(&answer, || people(&answer))
}

/// Asks, and shows how it goes.
async fn closely(context: &Context, client: &Client, request: &CallRequest) -> Result<CallAnswer> {
    let mut asked = client.ask_closely(request).await?;
    loop {
        match asked.next().await? {
            Step::Answer(answer) => return Ok(*answer),
            Step::Progress(note) if context.output.is_json() => {
                context.output.line(&note, String::new)?;
            }
            Step::Progress(note) => context.output.note(&noted(&note)),
        }
    }
}

fn noted(note: &CallProgress) -> String {
    inline(note.body.as_deref().unwrap_or("(not text)"))
}

fn people(answer: &CallAnswer) -> String {
    match (&answer.body, &answer.body_base64) {
        (Some(text), _) => escape(text),
        (None, Some(base64)) => {
            let bytes = BASE64.decode(base64.as_bytes()).map_or(0, |bytes| bytes.len());
            format!("({bytes} bytes of {}: --json has them)", inline(&answer.content_type))
        }
        (None, None) => String::new(),
    }
}

fn note_terminal(context: &Context) {
    if std::io::stdin().is_terminal() {
        context.output.note("Reading the text from this terminal; Ctrl-D ends it.");
    }
}

/// `waxwing reply`
pub(crate) async fn reply(context: &Context, arguments: Reply) -> Result<()> {
    let to = ReplyRequest { mesh: context.mesh.clone(), ..ReplyRequest::to(arguments.request) };
    let reply = if let Some(message) = arguments.error {
        ReplyRequest { error: Some(ReplyError { code: arguments.code, message: Some(message) }), ..to }
    } else {
        if arguments.text.is_none() && arguments.file.is_none() {
            note_terminal(context);
        }
        let (body, body_base64) = body(arguments.text, arguments.file.as_deref())?;
        let (content_type, progress) = (arguments.content_type, arguments.progress);
        ReplyRequest { body, body_base64, content_type, progress, ..to }
    };
    context.client()?.reply(&reply).await?;
    let done = serde_json::json!({ "request": reply.request });
    context.output.print(&done, String::new)
}
