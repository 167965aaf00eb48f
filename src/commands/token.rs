//! `waxwing node token`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use waxwing_client::api::{Token as About, TokenRequest};
use waxwing_client::{Client, Name};

use super::Context;
use crate::cli::{Token, TokenCreate};
use crate::failure::{Failure, Result};
use crate::output::{table, time};

/// A token that went to a file.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    about: About,
    file: PathBuf,
}

/// A token that was ended.
#[derive(Serialize)]
struct Revoked {
    name: Name,
    revoked: bool,
}

pub(crate) async fn run(context: &Context, command: Token) -> Result<()> {
    match command {
        Token::Create(arguments) => create(context, arguments).await,
        Token::List => list(context).await,
        Token::Revoke { name } => {
            context.client()?.revoke_token(&name).await?;
            let done = Revoked { name, revoked: true };
            context.output.print(&done, || format!("token {} lets nobody in any more", done.name))
        }
    }
}

async fn create(context: &Context, arguments: TokenCreate) -> Result<()> {
    let TokenCreate { name, scope, app, out } = arguments;
    let (client, request) = (context.client()?, TokenRequest { name, scope, app });
    if let Some(file) = out {
        return create_in(context, &client, &request, file).await;
    }
    let made = client.create_token(&request).await?;
    context.output.print(&made, || made.token.to_string())?;
    context.output.note(&format!(
        "Whoever has this token can {}, until `waxwing node token revoke {}`. It is shown this once.",
        allowed(&made.about),
        made.about.name
    ));
    say_where(context, &client).await
}

/// The file is made first: a token that cannot be written must not be.
async fn create_in(context: &Context, client: &Client, request: &TokenRequest, path: PathBuf) -> Result<()> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(failed)?;
    let made = match client.create_token(request).await {
        Ok(made) => made,
        Err(error) => {
            // What is there is an empty file of ours.
            let _ = fs::remove_file(&path);
            return Err(error.into());
        }
    };
    writeln!(file, "{}", *made.token).and_then(|()| file.sync_all()).map_err(failed)?;
    let done = Written { about: made.about, file: path };
    context.output.print(&done, || line(&done.about, &done.file))?;
    say_where(context, client).await
}

fn line(about: &About, file: &Path) -> String {
    format!("{}: whoever has it can {}", file.display(), allowed(about))
}

fn allowed(about: &About) -> String {
    let scope = about.scope.as_str();
    about.app.as_ref().map_or_else(|| scope.to_owned(), |app| format!("{scope} as {app}"))
}

/// Says so if there is no port to show a token at.
async fn say_where(context: &Context, client: &Client) -> Result<()> {
    match client.health().await?.listen {
        Some(address) => context.output.note(&format!("The node listens on {address}")),
        None => context.output.note(
            "The node does not listen on any port: set `listen = \"127.0.0.1:7980\"` in the file that `waxwing config path` \
             names, and start it anew",
        ),
    }
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let tokens = context.client()?.tokens().await?;
    if tokens.tokens.is_empty() {
        context.output.note("there are no tokens");
    }
    context.output.print(&tokens, || {
        if tokens.tokens.is_empty() {
            return String::new();
        }
        let mut rows = vec![["NAME", "SCOPE", "APP", "MADE"].map(String::from).to_vec()];
        rows.extend(tokens.tokens.iter().map(|token| {
            let app = token.app.as_ref().map(ToString::to_string).unwrap_or_default();
            vec![token.name.to_string(), token.scope.as_str().to_owned(), app, time(token.created_at)]
        }));
        table(&rows)
    })
}
