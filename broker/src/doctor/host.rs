//! What the machine gives: room on the disk, and the address to listen on.

use std::io::ErrorKind;
use std::path::Path;

use tokio::net::{TcpListener, TcpStream};

use waxwing_protocol::finding::size;

use super::Finding;
use crate::config::Config;
use crate::folder::Holder;

/// Less room is used up by an hour of mail.
const SCARCE: u64 = 2 * 1024 * 1024 * 1024;
/// Less is used up by the log alone, and a broker that cannot write stops.
const NONE_LEFT: u64 = 256 * 1024 * 1024;

/// How much room there is.
pub(super) fn disk(data: &Path) -> Finding {
    const CHECK: &str = "disk";
    let mend = format!("df -h {}", data.display());
    match rustix::fs::statvfs(data) {
        Ok(disk) => match disk.f_bavail * disk.f_frsize {
            free @ 0..NONE_LEFT => Finding::wrong(CHECK, format!("{} left", size(free)), mend),
            free @ NONE_LEFT..SCARCE => Finding::warning(CHECK, format!("{} left", size(free)), mend),
            free => Finding::ok(CHECK, format!("{} left", size(free))),
        },
        Err(err) => Finding::wrong(CHECK, err.to_string(), mend),
    }
}

/// Whether nodes can reach it, or could if it ran.
pub(super) async fn listen(config: &Config, holder: Option<&Holder>, arguments: &str) -> Finding {
    const CHECK: &str = "address";
    if let Some(holder) = holder {
        return match TcpStream::connect(holder.addr).await {
            Ok(_) => Finding::ok(CHECK, format!("{} answers", holder.addr)),
            Err(err) => {
                let restart = format!("waxwing broker down{arguments}");
                Finding::wrong(CHECK, format!("{} does not answer: {err}", holder.addr), restart)
            }
        };
    }
    match TcpListener::bind(config.listen).await {
        Ok(_) => Finding::ok(CHECK, format!("{} is free", config.listen)),
        Err(err) if err.kind() == ErrorKind::AddrInUse => Finding::wrong(
            CHECK,
            format!("{} is taken by another program", config.listen),
            format!("ss -ltnp 'sport = :{}'", config.listen.port()),
        ),
        Err(err) => Finding::wrong(CHECK, format!("{}: {err}", config.listen), "ip address"),
    }
}
