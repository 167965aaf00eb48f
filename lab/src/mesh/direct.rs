//! Nodes that dial a broker itself, with no proxy before it: for measuring.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Lab;
use crate::error::{Error, Result};
use crate::process::Process;

impl Lab {
    /// A broker with nobody connected and no proxy before it: for measuring.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn direct(program: impl Into<PathBuf>) -> Result<Self> {
        Self::direct_by(program, "").await
    }

    /// The same with these settings of the broker. What a node does not answer nobody answers: a proxy would answer pings.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn direct_by(program: impl Into<PathBuf>, settings: &str) -> Result<Self> {
        let mut lab = Self::without_broker(program).await?;
        let file = lab.settings();
        std::fs::write(&file, settings).map_err(Error::io("writing the broker's settings"))?;
        let data = lab.path(Self::BROKER).into_os_string();
        let mut words: Vec<OsString> = vec![lab.program.clone().into()];
        words.extend(["--json", "broker", "run", "--listen", "127.0.0.1:0", "--data"].map(OsString::from));
        words.extend([data, "--config".into(), file.into()]);
        let mut process = Process::new(Self::BROKER, words, lab.path("broker.log"));
        let ready = process.start().await?;
        let url = ready["url"].as_str().ok_or_else(|| Error::Unreadable(format!("no address in {ready}")))?;
        lab.direct = Some(url.to_owned());
        lab.processes.insert(Self::BROKER.to_owned(), process);
        Ok(lab)
    }

    /// Nodes of a broker that runs already, here or elsewhere, and a file with what founding a mesh takes there. The mesh is left there.
    ///
    /// # Errors
    /// If there is no room.
    pub async fn on(
        program: impl Into<PathBuf>,
        url: String,
        creation_token: Option<PathBuf>,
    ) -> Result<Self> {
        let mut lab = Self::without_broker(program).await?;
        lab.direct = Some(url);
        lab.creation_token = creation_token;
        Ok(lab)
    }
}
