//! How a program on this machine asks a broker how it is: over its admin address, found by its data folder.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::token_file;
use crate::error::{BoxError, Error, Result};
use crate::folder::Holder;

/// A broker that lives answers by then: readiness takes the longest.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER: usize = 4 * 1024 * 1024;

/// Asks a running broker for a page of its admin address. Gives the status code and the text.
///
/// # Errors
/// `Unreachable` if it does not answer there.
pub async fn ask(data: &Path, holder: &Holder, path: &str) -> Result<(u16, String)> {
    let Some(addr) = holder.admin else {
        return Err(Error::Unreachable("it does not say where it answers operators".into()));
    };
    let failed = |why: &dyn std::fmt::Display| Error::Unreachable(format!("{}: {why}", dialled(addr)));
    // Absent on this machine alone, where no token is asked for.
    let token = fs::read_to_string(token_file(data)).ok();
    match timeout(ANSWERS_WITHIN, get(dialled(addr), path, token)).await {
        Ok(answer) => answer.map_err(|err| failed(&err)),
        Err(late) => Err(failed(&late)),
    }
}

/// Where a listener on every address is reached from its own machine.
const fn dialled(addr: SocketAddr) -> SocketAddr {
    if !addr.ip().is_unspecified() {
        return addr;
    }
    let here = if addr.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    SocketAddr::new(here, addr.port())
}

async fn get(addr: SocketAddr, path: &str, token: Option<String>) -> Result<(u16, String), BoxError> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(path).header(header::HOST, addr.to_string());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
    }
    let request = request.body(Body::empty())?;
    let asked = async {
        let response = sender.send_request(request).await?;
        let code = response.status().as_u16();
        let bytes = to_bytes(Body::new(response.into_body()), ANSWER).await?;
        Ok((code, String::from_utf8(bytes.into())?))
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // It ends when the answer is there, or without one.
        ended = connection => match ended {
            Ok(()) => asked.await,
            Err(err) => Err(err.into()),
        },
    }
}
