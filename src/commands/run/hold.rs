//! The registration of what runs: held by a stream of events, and made again when the node has been away.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;
use waxwing_client::api::{EventBody, EventQuery, ProblemCode, Registration, RemoveQuery};
use waxwing_client::{Client, Error, Events, Name, RegistrationId};

use super::Context;
use crate::cli::Run;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Until the stream holds it, and for a node that is slow.
const TTL: &str = "10s";
/// Between attempts to reach a node that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// A registration.
pub(super) struct Hold {
    client: Client,
    output: Output,
    name: Name,
    /// What is said to a node that does not know it.
    registration: Registration,
    id: RegistrationId,
    events: Mutex<Option<Events>>,
    pid: Mutex<Option<u32>>,
}

impl Hold {
    /// Registers.
    pub(super) async fn begin(client: Client, context: &Context, arguments: &Run) -> Result<Self> {
        let text = |text: &Option<String>| text.clone();
        let registration = Registration {
            ttl: Some(TTL.to_owned()),
            takeover: arguments.takeover,
            instance: arguments.instance.clone(),
            kind: text(&arguments.kind),
            version: text(&arguments.version),
            capabilities: (!arguments.capability.is_empty()).then(|| arguments.capability.clone()),
            repository: text(&arguments.repository),
            summary: text(&arguments.summary),
            mesh: context.mesh.clone(),
            ..Registration::default()
        };
        let registered = client.register(&arguments.name, &registration).await?;
        let id = registered.registration;
        let registration = Registration { takeover: false, registration: Some(id.clone()), ..registration };
        let (output, name) = (context.output, arguments.name.clone());
        let (events, pid) = (Mutex::new(None), Mutex::new(None));
        let hold = Self { client, output, name, registration, id, events, pid };
        *hold.events.lock().await = Some(hold.open().await?);
        Ok(hold)
    }

    /// What it is known by.
    pub(super) const fn id(&self) -> &RegistrationId {
        &self.id
    }

    async fn open(&self) -> Result<Events, Error> {
        let query = EventQuery {
            kind: Some("system".to_owned()),
            register: Some(1),
            registration: Some(self.id.clone()),
            instance: self.registration.instance.clone(),
            mesh: self.registration.mesh.clone(),
            ..EventQuery::default()
        };
        self.client.events(&query).await
    }

    /// Says more about it. A node that is away is told when it is back.
    pub(super) async fn say(&self, more: Registration) {
        *self.pid.lock().await = more.pid;
        let more = Registration {
            registration: Some(self.id.clone()),
            instance: self.registration.instance.clone(),
            mesh: self.registration.mesh.clone(),
            ..more
        };
        let _ = self.client.register(&self.name, &more).await;
    }

    /// Holds it until another takes its place.
    pub(super) async fn keep(&self) {
        let mut events = self.events.lock().await;
        while let Some(stream) = &mut *events {
            match stream.next().await {
                Ok(event) => {
                    if matches!(&event.body, EventBody::System { what } if what == "superseded") {
                        return self.lost(&Failure::conflict("another has taken its place"));
                    }
                }
                Err(error) => {
                    self.output
                        .note(&format!("{error}: {} is registered again when the node is back", self.name));
                    *events = self.again().await;
                }
            }
        }
    }

    /// Registers anew, however long the node is away. None if that cannot be.
    async fn again(&self) -> Option<Events> {
        loop {
            sleep(PAUSE).await;
            let registration = Registration { pid: *self.pid.lock().await, ..self.registration.clone() };
            let registered = match self.client.register(&self.name, &registration).await {
                Ok(_) => self.open().await,
                Err(error) => Err(error),
            };
            match registered {
                Ok(events) => {
                    self.output.note(&format!("{} is registered again", self.name));
                    return Some(events);
                }
                Err(Error::Problem(problem)) if problem.code != ProblemCode::MeshClosed => {
                    self.lost(&Failure::from(Error::Problem(problem)));
                    return None;
                }
                Err(_) => {}
            }
        }
    }

    fn lost(&self, why: &Failure) {
        self.output.note(&format!(
            "the command goes on, and {} is not registered any more: {}",
            self.name,
            why.message()
        ));
    }

    /// Ends it, if it is still its own.
    pub(super) async fn end(self) {
        let query = RemoveQuery {
            instance: self.registration.instance.clone(),
            registration: Some(self.id.clone()),
            mesh: self.registration.mesh.clone(),
        };
        // Without an answer it ends with the stream, and with its time.
        let _ = self.client.timeout(Duration::from_secs(5)).unregister(&self.name, &query).await;
    }
}
