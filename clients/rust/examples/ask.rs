//! Asks an app elsewhere and prints its answer:
//! `cargo run -p waxwing-client --example ask -- NODE.SOCK answer@build-1 'are you there?'`

use std::error::Error;

use waxwing_client::{Client, api};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next().ok_or("give the node's socket, an address and a question");
    let (socket, to, question) = (next()?, next()?, next()?);
    println!("{}", ask(&Client::new(socket).app("ask".parse()?), &to, &question).await?);
    Ok(())
}

/// Sends a question, and waits for what answers it.
pub(crate) async fn ask(node: &Client, to: &str, question: &str) -> Result<String, Box<dyn Error>> {
    let request =
        api::SendRequest { to: to.to_owned(), body: Some(question.to_owned()), ..Default::default() };
    let asked = node.send(&request).await?.client_message_id;
    let mut query = api::InboxQuery { unread: true, wait: Some("60s".to_owned()), ..Default::default() };
    loop {
        let page = node.inbox(&query).await?;
        if let Some(answer) = page.items.into_iter().find(|item| item.reply_to.as_ref() == Some(&asked)) {
            node.ack(&api::AckRequest { ids: Some(vec![answer.id]), ..Default::default() }).await?;
            return Ok(answer.body.unwrap_or_default());
        }
        query.after = Some(page.next);
    }
}
