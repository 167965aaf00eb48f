//! `waxwing claim`.

use waxwing_client::Client;
use waxwing_client::api::{
    AbandonRequest, Claim as Listed, ClaimAnswer, ClaimRequest, ClaimState, ClaimsQuery, CompleteRequest,
    Completion,
};

use super::Context;
use crate::cli::{Claim, ClaimComplete, ClaimList, ClaimOf, ClaimTry};
use crate::failure::{Failure, Result};
use crate::output::{inline, table, time};
use crate::view;

pub(crate) async fn run(context: &Context, command: Claim) -> Result<()> {
    match command {
        Claim::Try(arguments) => ask(context, arguments).await,
        Claim::Complete(ClaimComplete { of, outcome }) => complete(context, of, outcome).await,
        Claim::Abandon(of) => abandon(context, of).await,
        Claim::List(asked) => list(context, asked).await,
    }
}

async fn ask(context: &Context, arguments: ClaimTry) -> Result<()> {
    let ClaimTry { key, app, ttl, wait, purpose } = arguments;
    let request = ClaimRequest { key, ttl, wait, purpose, mesh: context.mesh.clone(), on_disconnect: None };
    let answer = context.acting(app)?.claim(&request).await?;
    context.output.print(&answer, || people(&answer))?;
    match answer.state {
        ClaimState::Claimed => Ok(()),
        ClaimState::Held => Err(Failure::conflict("another has claimed it")),
        ClaimState::Done => Err(Failure::conflict("it is done")),
    }
}

fn people(answer: &ClaimAnswer) -> String {
    let key = inline(&answer.key);
    match (&answer.token, &answer.holder, &answer.completion) {
        (Some(token), ..) => format!("{key} claimed: token {token}"),
        (None, Some(holder), _) => format!("{key} held by {}", view::holder(holder)),
        (None, None, Some(done)) => format!("{key} done by {}", outcome(done)),
        (None, None, None) => format!("{key} {}", answer.state.as_str()),
    }
}

fn outcome(done: &Completion) -> String {
    let outcome = done.outcome.as_ref().map(|text| format!(": {}", inline(text))).unwrap_or_default();
    format!("{} at {}{outcome}", view::author(&done.by), time(done.at))
}

/// The token that was given, or that of what the app has claimed at this node.
async fn token(context: &Context, client: &Client, of: &ClaimOf) -> Result<u64> {
    if let Some(token) = of.token {
        return Ok(token);
    }
    let query = ClaimsQuery {
        key: Some(of.key.clone()),
        app: of.app.clone(),
        mesh: context.mesh.clone(),
        prefix: None,
    };
    let claims = client.claims(&query).await?.claims;
    let found = claims.into_iter().next().map(|claim| {
        claim.holder.map(|holder| holder.token).or(claim.completion.map(|completion| completion.token))
    });
    let none = || Failure::not_found(format!("nothing called {} is claimed by this app", inline(&of.key)));
    found.flatten().ok_or_else(none)
}

async fn complete(context: &Context, of: ClaimOf, outcome: Option<String>) -> Result<()> {
    let client = context.acting(of.app.clone())?;
    let token = token(context, &client, &of).await?;
    let request = CompleteRequest { key: of.key, token, outcome, mesh: context.mesh.clone() };
    let done = client.complete_claim(&request).await?;
    let until = time(done.completion.until);
    context.output.print(&done, || format!("{} done: told to whoever asks until {until}", inline(&done.key)))
}

async fn abandon(context: &Context, of: ClaimOf) -> Result<()> {
    let client = context.acting(of.app.clone())?;
    let token = token(context, &client, &of).await?;
    let request = AbandonRequest { key: of.key, token, mesh: context.mesh.clone() };
    let done = client.abandon_claim(&request).await?;
    context.output.print(&done, || format!("{} is free", inline(&done.key)))
}

async fn list(context: &Context, asked: ClaimList) -> Result<()> {
    let ClaimList { key, prefix, app } = asked;
    let query = ClaimsQuery { key, prefix, app, mesh: context.mesh.clone() };
    let found = context.client()?.claims(&query).await?;
    if found.claims.is_empty() {
        context.output.note("no such claim");
    }
    context.output.print(&found, || {
        let head = ["KEY", "STATE", "BY", "TOKEN", "OUTCOME"].map(String::from).to_vec();
        let head = (!found.claims.is_empty()).then_some(head);
        table(&head.into_iter().chain(found.claims.iter().map(row)).collect::<Vec<_>>())
    })?;
    context.note_age(found.current, found.as_of);
    if found.more {
        context.output.note("there are more: say which are wanted");
    }
    Ok(())
}

fn row(claim: &Listed) -> Vec<String> {
    let (by, token) = match (&claim.completion, &claim.holder) {
        (Some(done), _) => (view::author(&done.by), done.token.to_string()),
        (None, Some(holder)) => (view::holder(holder), holder.token.to_string()),
        (None, None) => (String::new(), String::new()),
    };
    let outcome = claim.completion.as_ref().and_then(|done| done.outcome.as_deref()).map(inline);
    vec![inline(&claim.key), claim.state.as_str().to_owned(), by, token, outcome.unwrap_or_default()]
}
