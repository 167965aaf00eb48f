//! `waxwing inbox`.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waxwing_client::api::{InboxPage, InboxQuery};
use waxwing_client::{Client, Error as ClientError};

use super::Context;
use crate::cli::Inbox;
use crate::failure::Result;
use crate::output::Output;
use crate::view::message;

/// Longest wait asked of the node at once.
const POLL: Duration = Duration::from_secs(30);
/// Between attempts to reach a node that is away.
const AWAY: Duration = Duration::from_millis(200);
/// Messages read at once when following.
const PAGE: usize = 100;

pub(crate) async fn run(context: &Context, arguments: Inbox) -> Result<()> {
    let client = context.client()?;
    let query = InboxQuery {
        after: arguments.after,
        app: arguments.app,
        from: arguments.from,
        thread: arguments.thread,
        unread: arguments.unread,
        limit: Some(arguments.limit),
        wait: None,
        mesh: context.mesh.clone(),
    };
    if arguments.follow {
        return follow(context.output, &client, query).await;
    }
    let page = match arguments.wait {
        Some(wait) => wait_for(&client, query, wait).await?,
        None => client.inbox(&query).await?,
    };
    if page.items.is_empty() {
        context.output.note("nothing here");
    }
    context.output.print(&page, || page.items.iter().map(message).collect::<Vec<_>>().join("\n"))?;
    if page.items.len() >= arguments.limit {
        context.output.note(&format!("There may be more: --after {}", page.next));
    }
    Ok(())
}

/// A page with something in it, or the empty one there is when time is up.
async fn wait_for(client: &Client, mut query: InboxQuery, wait: Duration) -> Result<InboxPage> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        query.wait = Some(format!("{}ms", left.min(POLL).as_millis()));
        match client.inbox(&query).await {
            Ok(page) if page.items.is_empty() && Instant::now() < deadline => {}
            Ok(page) => return Ok(page),
            // A node that stops ends the wait; if it comes back in time, so does the wait.
            Err(ClientError::Lost(_)) if Instant::now() < deadline => sleep(AWAY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is there, then what comes, by cursor: a node that restarts is waited for, and nothing is lost or repeated.
async fn follow(output: Output, client: &Client, mut query: InboxQuery) -> Result<()> {
    let mut after = query.after.unwrap_or(0);
    let mut known = false;
    let mut away = false;
    loop {
        query.after = Some(after);
        query.limit = Some(PAGE);
        query.wait = Some(format!("{}ms", POLL.as_millis()));
        match client.inbox(&query).await {
            Ok(page) => {
                if away {
                    output.note("the node is back");
                }
                (known, away) = (true, false);
                for item in &page.items {
                    if !output.line(item, || message(item))? {
                        return Ok(());
                    }
                }
                after = page.next;
            }
            // A node that was never there is not waited for.
            Err(error @ (ClientError::Lost(_) | ClientError::Unreachable { .. })) if known => {
                if !away {
                    output.note(&format!("{error}: waiting until it is back"));
                }
                away = true;
                sleep(AWAY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
