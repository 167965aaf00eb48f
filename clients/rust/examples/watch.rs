//! Prints what happens at a node, also across its restarts: `cargo run -p waxwing-client --example watch -- NODE.SOCK`
//!
//! With WAXWING_TOKEN set, NODE.SOCK is an address such as 127.0.0.1:7980.

use std::error::Error;

use waxwing_client::{Client, api};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::args().nth(1).ok_or("which node? give its socket, or its address")?;
    let node = match std::env::var("WAXWING_TOKEN") {
        Ok(token) => Client::tcp(place.parse()?, token.parse()?)?,
        Err(_) => Client::new(place),
    };
    watch(&node, |line| println!("{line}")).await
}

/// Tells of each event from now on, in a line.
pub(crate) async fn watch(node: &Client, mut tell: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let everything = api::EventQuery { app: Some("*".to_owned()), ..Default::default() };
    let mut events = node.events_resuming(&everything).await?;
    loop {
        let event = events.next().await?;
        tell(if let api::EventBody::Message { message } = &event.body {
            let body = message.body.as_deref().unwrap_or("(not text)");
            format!("#{} from {}: {body}", message.id, message.from)
        } else {
            format!("{}: {:?}", event.body.kind().as_str(), event.body)
        });
    }
}
