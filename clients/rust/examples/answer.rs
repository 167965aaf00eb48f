//! An app that answers every message it gets: `cargo run -p waxwing-client --example answer -- NODE.SOCK`
//!
//! It may be stopped at any moment. What is not acknowledged is there again at the next start, and an answer that was sent
//! already is known by its id: each question gets one answer.

use std::error::Error;

use waxwing_client::{Client, api};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("which node? give its socket")?;
    answer(&Client::new(socket).app("answer".parse()?)).await
}

/// Answers what comes, until the node goes away.
pub(crate) async fn answer(node: &Client) -> Result<(), Box<dyn Error>> {
    let query = api::InboxQuery { unread: true, wait: Some("60s".to_owned()), ..Default::default() };
    loop {
        for question in node.inbox(&query).await?.items {
            node.send(&reply(&question)?).await?;
            // Only now: a crash before this repeats the question, and the id below makes the answer the same message.
            node.ack(&api::AckRequest { ids: Some(vec![question.id]), ..Default::default() }).await?;
        }
    }
}

/// The answer to a question, for the app that asked it.
fn reply(question: &api::InboxItem) -> Result<api::SendRequest, Box<dyn Error>> {
    let to = match &question.from_app {
        Some(app) => format!("{app}@{}", question.from),
        None => question.from.to_string(),
    };
    let asked = question.body.as_deref().unwrap_or("something that is no text");
    Ok(api::SendRequest {
        to,
        body: Some(format!("you said: {asked}")),
        reply_to: Some(question.client_message_id.clone()),
        client_message_id: Some(format!("re-{:.120}", question.client_message_id.as_str()).parse()?),
        ..Default::default()
    })
}
