//! `waxwing mesh create`, `waxwing mesh broker` and `waxwing mesh resume`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use waxwing_client::Client;
use waxwing_client::api::{BrokerAnswer, BrokerRequest, CreateAnswer, CreateRequest, ResumeRequest};
use waxwing_crypto::CreationToken;
use waxwing_crypto::membership::LogHead;
use waxwing_node::{Config, enroll, move_broker};
use zeroize::Zeroizing;

use super::Context;
use crate::cli::{MeshBroker, MeshCreate};
use crate::failure::{Failure, Result};
use crate::logs;
use crate::output::inline;

/// Words of the recovery secret on one line.
const WORDS_PER_LINE: usize = 6;

pub(crate) async fn create(context: &Context, arguments: MeshCreate) -> Result<()> {
    logs::passing(context.verbose);
    let create = enroll::Create {
        mesh: arguments.name,
        broker: arguments.broker,
        plaintext: arguments.plaintext,
        creation: arguments.creation_token.as_deref().map(creation_token).transpose()?,
        node: arguments.node,
    };
    let config = context.config()?;
    let running = context.running(&config)?;
    let created = found(&config, running.as_ref(), create).await?;
    context.output.print(&created, || {
        format!(
            "mesh {} is founded, and this node is {} ({}), its admin",
            created.mesh, created.node, created.node_id
        )
    })?;
    context.output.keep(&recovery(&created.recovery_words));
    context.output.note(&context.next_in(&created.mesh, running.is_some()));
    Ok(())
}

/// Founds a mesh: the node that runs does, or this process on its folder.
pub(super) async fn found(
    config: &Config,
    running: Option<&Client>,
    create: enroll::Create,
) -> Result<CreateAnswer> {
    let Some(client) = running else {
        let enroll::Created { mesh, node, node_id, recovery_words } = enroll::create(config, create).await?;
        let recovery_words = recovery_words.reveal().to_owned();
        return Ok(CreateAnswer { mesh, node, node_id, recovery_words });
    };
    let enroll::Create { mesh: name, broker, plaintext, creation, node } = create;
    let creation_token = creation.map(|token| token.reveal().to_string());
    Ok(client.create(&CreateRequest { name, broker, node, creation_token, plaintext }).await?)
}

/// Says where the broker is from now on.
pub(crate) async fn broker(context: &Context, arguments: MeshBroker) -> Result<()> {
    logs::passing(context.verbose);
    let (config, mesh) = (context.config()?, context.mesh.clone());
    let MeshBroker { url, plaintext } = arguments;
    let running = context.running(&config)?;
    let moved = match &running {
        Some(client) => client.move_broker(&BrokerRequest { url, plaintext, mesh }).await?,
        None => {
            let moved = move_broker::move_broker(&config, mesh.as_ref(), &url, plaintext).await?;
            BrokerAnswer { mesh: moved.mesh, before: moved.before, broker: moved.after.to_string() }
        }
    };
    context.output.print(&moved, || {
        format!(
            "mesh {} is dialled at {} from now on; it was {}",
            moved.mesh,
            moved.broker,
            inline(&moved.before)
        )
    })?;
    let next = if running.is_some() { "node status" } else { "node up" };
    context.output.note(&format!("next: {}", context.command(next)));
    Ok(())
}

/// Says which log is right, after the broker has lost its store.
pub(crate) async fn resume(context: &Context) -> Result<()> {
    let request = ResumeRequest { mesh: context.mesh.clone() };
    let resumed = context.client()?.resume(&request).await?;
    context.output.print(&resumed, || {
        let LogHead { seq, hash } = resumed.head;
        format!(
            "mesh {} goes on with the log of this node, which ended at entry {seq} ({:.8})",
            resumed.mesh,
            hash.to_string()
        )
    })
}

/// The token in a file, or on stdin; and no more of either than a token can be long.
fn creation_token(file: &Path) -> Result<CreationToken> {
    let failed =
        |error| Failure::usage(format!("cannot read a creation token from {}: {error}", file.display()));
    let mut text = Zeroizing::new(String::new());
    let most = CreationToken::MAX_TEXT as u64;
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text).map_err(failed)?;
    } else {
        File::open(file).map_err(failed)?.take(most).read_to_string(&mut text).map_err(failed)?;
    }
    text.parse().map_err(|_| {
        Failure::usage(format!("{} holds no creation token: it begins with wwc1_", file.display()))
            .hint("the broker's operator has it: `waxwing broker run` says in which file")
    })
}

/// The words as they are written down.
pub(super) fn recovery(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let lines: Vec<String> =
        words.chunks(WORDS_PER_LINE).map(|line| format!("    {}", line.join(" "))).collect();
    format!(
        "\nWrite these {} words down. They can act for the mesh when every admin is lost, and are not shown again:\n\n{}\n",
        words.len(),
        lines.join("\n")
    )
}
